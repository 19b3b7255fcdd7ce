"""Do adapters that follow the sound make a tenth fewer errors than plain LoRA where a recording changes its domain?

    python studies/temporal_released.py FOLDER_OF_MODELS FOLDER_OF_CORPORA  # all of it; goes on where it stopped
    python studies/temporal_released.py MODELS CORPORA --only lora rank --seeds 0
    python studies/temporal_released.py MODELS CORPORA --plan               # measures a step and the tests
    python studies/temporal_released.py MODELS CORPORA --gates --seeds 0    # then: errors with every gate at its mean
    python studies/temporal_released.py MODELS CORPORA --cues               # can the cues tell the domains at all?
    python studies/temporal_released.py --table                             # the tables from the runs so far

Question. Wanted are 10 % fewer word errors, relative, than plain LoRA on recordings joined from two domains, at equal
parameters, and no more on the plain recordings of either.

Ground. whisper-tiny.en in NF4 with its own window and one second of silence. Two domains: children who learn English
(speechocean762_child) and telephone prompts by one professional (asterisk_en). A joined recording is a child's clip
and a prompt in either order with 0.2 s of pause, at most 8 s, its text both texts. Training rows: the plain ones of
both domains and as many joined ones, drawn from the training parts with a fixed seed. Tests, of test parts alone:
joined, children, prompts; in the joined test no clip is there twice.

Arms. All have adapters of rank 4 on every linear layer, and as many parameters as `rank` (lora and scale get a rank
more on a few layers). `lora` has no gate. `utterance` is a mixture of four adapters of rank 1 whose shares hear the
mean of the recording, so they are the same for all its frames. `scale`, `rank` and `route` hear every frame. `noise`
is `rank` with fixed random numbers for cues. `told` is no contestant: it is `rank`, and for cues it gets the domain
of each frame (+1, -1, 0 in pauses and silence), in training and in the tests, so it says what there is to win for
a gate that knows as much as can be known of the domain. Words, which have no frames, hear the mean of the recording
in every arm.

Learning rates. Every arm gets the same effort: each of `RATES` once, half of the steps, seed 100, on a part of the
training split (four fifths of the children, five sixths of the prompts); judged by the WER of all words of the three
tests made of the rest. The test split takes no part. The gates' `gain`, `hidden` and `context` are the defaults.

Evidence. Rows keep word errors of each utterance, by Whisper's own normalizer for English. A text has at most
`LONGEST` tokens, twice what the longest reference needs; one that says the same one to eight words three times in a
row is counted as a loop. Intervals: 10,000 paired bootstrap draws of utterances and seeds, the same for both arms.
Each run also keeps how its gates stand on the tests (`standing`): the standard deviation over the frames of a
recording; the difference between the child's half of joined recordings and the prompt's, its sign kept until the
mean over recordings is taken; and the same between plain recordings of both domains.

Compute plan, before the runs. A step of 4 takes about 0.9 s of one thread and the tests about 30 s, so a run of 80
steps takes one and a half minutes: 14 tuning runs of half of that in 11 minutes and 7 arms of 5 seeds in an hour.
Seeds are the outer loop, so a cut leaves whole seeds.
"""
import itertools
import random
import re
import time
from pathlib import Path
from statistics import mean
import torch
import transformers
from paired import folders_options, more_errors, narrow, parsed_folders, read, run_once, said
from released import split_rows, word_counts
from qlora_audio.adapters.saving import adapted_layers
from qlora_audio.adapters.targets import LoRAConfig, add_lora, count_parameters
from qlora_audio.models.encoders import lengths_to_mask
from qlora_audio.models.quantize import NF4Config
from qlora_audio.models.released import load_model
from qlora_audio.sound.metrics import NORMALIZERS
from qlora_audio.strategies.temporal import (
    TemporalConfig, TemporalGate, add_temporal_lora, gates, sound_cues, sounding_frames)
from qlora_audio.training.loop import finetune

RESULTS = Path(__file__).with_suffix('.jsonl')
BASE = 'whisper-tiny.en'
CHILD, PROMPT = 'speechocean762_child', 'asterisk_en'
DOMAINS = {CHILD: 1., PROMPT: -1.}
TESTS = ('joined', 'children', 'prompts')
R, STEPS, BATCH, LONGEST = 4, 80, 4, 40
RATES = (2e-3, 4e-3)
TUNING_SEED = 100
SEEDS = tuple(range(5))
PAUSE = 0.2 # seconds between the two of a joined recording
PLAIN_SECONDS = (0.8, 4.)
JOINED_SECONDS = 8.
N_JOINED = 400 # of training
N_TESTS = dict(run=dict(joined=60, children=60, prompts=70), tune=dict(joined=24, children=16, prompts=16))
ARMS = dict(
    lora=None, utterance=TemporalConfig('route'), scale=TemporalConfig('scale'), rank=TemporalConfig('rank'),
    route=TemporalConfig('route'), noise=TemporalConfig('rank', control='noise'), told=TemporalConfig('rank'))


class UtteranceGate(TemporalGate):
    "Every frame hears the mean of its recording"
    def listen(self, *batch):
        super().listen(*batch)
        mean = self.heard['mean']
        self.heard = {place: mean.expand(-1, h.shape[1], -1) for place, h in self.heard.items()}


class ToldGate(TemporalGate):
    "Hears the domain of each frame instead of the cues; `parts` must be those of the rows of the batch"
    parts = ()
    def read(self, spectrum, lengths):
        real = lengths_to_mask(lengths, spectrum.shape[-1])
        cues = torch.zeros(len(real), len(self.config.cues), real.shape[1])
        for row, parts in zip(cues, self.parts, strict=True):
            for domain, start, end in parts:
                row[:, round(100 * start):round(100 * end)] = DOMAINS[domain]
        hidden = torch.tanh(self.reads(cues.masked_fill(~real[:, None], 0)))
        return hidden.masked_fill(~real[:, None], 0), real


GATES = dict(utterance=UtteranceGate, told=ToldGate)


def part_of(folder, corpus, kind):
    "Training and test rows of one domain, of a length that leaves room for another; each knows its parts"
    least, most = PLAIN_SECONDS
    def kept(rows):
        rows = [row for row in rows if least <= row['duration'] <= most]
        return [row | dict(parts=[(corpus, 0., row['duration'])]) for row in rows]
    train, test = split_rows(folder, corpus, kind)
    return kept(train), kept(test)


def joined(first, second):
    "One row of two, at 16 kHz"
    waves = [torch.as_tensor(row['audio']['array'], dtype=torch.float32) for row in (first, second)]
    rate = first['audio']['sampling_rate']
    assert rate == second['audio']['sampling_rate'] == 16_000
    wave = torch.cat([waves[0], torch.zeros(round(PAUSE * rate)), waves[1]])
    half, whole = len(waves[0]) / rate, len(wave) / rate
    (one,), (other,) = first['parts'], second['parts']
    parts = [(one[0], 0., half), (other[0], half + PAUSE, whole)]
    audio = dict(array=wave.numpy(), sampling_rate=rate)
    return dict(audio=audio, text=f"{first['text']} {second['text']}", duration=whole, parts=parts)


def pairs(children, prompts, n, rng, again):
    "`n` joined rows; with `again` a clip may be there more than once"
    if again:
        chosen = [(rng.choice(children), rng.choice(prompts)) for _ in range(n)]
    else:
        chosen = list(zip(rng.sample(children, len(children)), rng.sample(prompts, len(prompts))))[:n]
    rows = [joined(*(pair if rng.random() < 0.5 else pair[::-1])) for pair in chosen]
    return [row for row in rows if row['duration'] <= JOINED_SECONDS]


def data(folder, kind):
    "Training rows, and the tests by their names"
    rng = random.Random(f'joined {kind}')
    children, prompts = part_of(folder, CHILD, kind), part_of(folder, PROMPT, kind)
    sizes = N_TESTS['tune' if kind == 'tune' else 'run']
    train = children[0] + prompts[0] + pairs(children[0], prompts[0], N_JOINED, rng, True)
    tests = dict(joined=pairs(children[1], prompts[1], sizes['joined'], rng, False))
    for name, rows in dict(children=children[1], prompts=prompts[1]).items():
        tests[name] = rng.sample(rows, min(sizes[name], len(rows)))
    return train, tests


def base(models):
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return load_model(f'{models}/{BASE}', NF4Config(), window='own', pad_seconds=1., dtype=torch.float32)


def adapt(model, arm, seed, pattern=None):
    "The adapters of an arm, their scaling 2; `pattern`: layers with another rank"
    torch.manual_seed(seed)
    alphas = {name: 2 * r for name, r in (pattern or {}).items()}
    config = LoRAConfig(r=R, lora_alpha=2 * R, lora_dropout=0., rank_pattern=pattern or {}, alpha_pattern=alphas)
    if ARMS[arm] is None:
        return add_lora(model, config)
    add_temporal_lora(model, config, ARMS[arm])
    gates(model)[0].__class__ = GATES.get(arm, TemporalGate)
    return model


def top_up(models, arm):
    "Name of a layer → its larger rank, so that the arm has about as many parameters as `rank`"
    if ARMS[arm] is not None and ARMS[arm].mode != 'scale':
        return {}
    wanted = count_parameters(adapt(base(models).model, 'rank', 0))['trainable']
    model = adapt(base(models).model, arm, 0)
    missing = wanted - count_parameters(model)['trainable']
    pattern = {}
    for name, layer in sorted(adapted_layers(model).items(), key=lambda item: -sum(sides(item[1]))):
        cost = sum(sides(layer))
        if cost <= missing:
            pattern[re.escape(name)] = R + 1
            missing -= cost
    return pattern


def sides(layer):
    return layer.in_features, layer.out_features


def tell(model, rows):
    "The domains of the next batch, for a gate that is told them"
    for gate in gates(model):
        gate.parts = [row['parts'] for row in rows]


def telling(speech):
    "Rows → batch, the gate told first"
    collate = speech.collator()
    def collated(rows):
        tell(speech.model, rows)
        return collate(rows)
    return collated


def batches(rows, size=20):
    "Of similar length, each in the order in which `transcribe` takes it"
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]['audio']['array']))
    return [order[i:i + size] for i in range(0, len(order), size)]


def written(speech, rows):
    "The texts, in the order of the rows"
    texts = [''] * len(rows)
    for chosen in batches(rows):
        tell(speech.model, [rows[i] for i in chosen])
        got = speech.transcribe([rows[i]['audio'] for i in chosen], batch_size=len(chosen), max_new_tokens=LONGEST)
        for i, text in zip(chosen, got, strict=True):
            texts[i] = text
    return texts


def loops(text):
    "Whether one to eight words are said three times in a row"
    words = NORMALIZERS['english'](text).split()
    for n in range(1, 9):
        for i in range(len(words) - 3 * n + 1):
            if words[i:i + n] == words[i + n:i + 2 * n] == words[i + 2 * n:i + 3 * n]:
                return True
    return False


def tested(speech, tests):
    "Errors, words, rates and loops of each test"
    out = dict(errors={}, words={}, wer={}, loops={})
    for name, rows in tests.items():
        texts = written(speech, rows)
        wrong, words, _ = word_counts(rows, texts, 'english')
        out['errors'][name], out['words'][name] = wrong, words
        out['wer'][name] = round(sum(wrong) / sum(words), 5)
        out['loops'][name] = sum(map(loops, texts))
    return out


def trained_on(models, folder, kind, arm, seed, lr, steps, pattern):
    "→ the base with an arm's adapters, trained; the tests; the losses"
    train, tests = data(folder, kind)
    speech, losses = base(models), []
    if steps:
        adapt(speech.model, arm, seed, pattern)
        desc = f'{kind} {arm} seed {seed} lr {lr:g}'
        losses = finetune(
            speech.model, train, telling(speech), steps=steps, batch_size=BATCH, lr=lr, seed=seed, desc=desc)
    return speech, tests, losses


@torch.no_grad()
def gates_by_part(speech, rows):
    "The gated layers; name → for each row: domains of its parts, their mean gates (n,), spread over real frames (n,)"
    model, collate, seen = speech.model.eval(), telling(speech), {}
    layers = {n: m for n, m in adapted_layers(model).items() if hasattr(m, 'opening')}
    for chosen in batches(rows):
        some = [rows[i] for i in chosen]
        batch = collate(some)
        model.model.encoder(batch['input_features']) # the gates hear
        frames = (sounding_frames(batch['input_features']) + 1) // 2
        gate = gates(model)[0]
        for name, layer in layers.items():
            heard = gate.heard['mean' if layer.place == 'decoder' else layer.place]
            opened = layer.opening(heard)                                             # (rows, frames, n)
            for i, row in enumerate(some):
                own = opened[i, :frames[i]]
                means = [own[round(50 * start):round(50 * end)].mean(0) if len(own) > 1 else own[0]
                         for _, start, end in row['parts']]
                spread = own.std(0) if len(own) > 1 else torch.zeros_like(own[0])
                seen.setdefault(name, []).append(([p[0] for p in row['parts']], means, spread))
    return layers, seen


def standing(speech, tests):
    "How gates stand, by place: spread over time, halves of joined recordings, plain recordings of both domains"
    layers, in_joined = gates_by_part(speech, tests['joined'])
    _, in_children = gates_by_part(speech, tests['children'])
    _, in_prompts = gates_by_part(speech, tests['prompts'])
    out = {}
    for name, rows in in_joined.items():
        halves = [dict(zip(domains, means)) for domains, means, _ in rows]
        children = torch.stack([means[0] for _, means, _ in in_children[name]])
        prompts = torch.stack([means[0] for _, means, _ in in_prompts[name]])
        middle = torch.stack([sum(means) / len(means) for _, means, _ in rows]).mean(0)
        of = dict(
            spread=torch.stack([spread for *_, spread in rows]).mean(),
            shift=(middle - 1).abs().mean(),
            halves=torch.stack([h[CHILD] - h[PROMPT] for h in halves]).mean(0).abs().mean(),
            plain=(children.mean(0) - prompts.mean(0)).abs().mean())
        for what, value in of.items():
            out.setdefault(layers[name].place, {}).setdefault(what, []).append(value.item())
    return {place: {what: round(mean(v), 4) for what, v in of.items()} for place, of in out.items()}


def one(models, folder, kind, arm, seed, lr, steps, pattern):
    "One run as a row"
    start = time.time()
    speech, tests, losses = trained_on(models, folder, kind, arm, seed, lr, steps, pattern)
    seconds = time.time() - start
    start = time.time()
    made = tested(speech, tests)
    gated = bool(steps) and ARMS[arm] is not None
    made |= dict(standing=standing(speech, tests)) if gated else {}
    made |= dict(parameters=count_parameters(speech.model)['trainable'] if steps else 0, seconds=round(seconds))
    made |= dict(test_seconds=round(time.time() - start), loss=round(mean(losses[-20:]), 4) if losses else None)
    return made


def rate(row):
    "WER of all words of the tests together"
    return sum(map(sum, row['errors'].values())) / sum(map(sum, row['words'].values()))


def study(file, models, folder, arms, seeds):
    "The base alone, learning rates, then every arm, seed by seed"
    patterns = {arm: top_up(models, arm) for arm in arms}
    def run(kind, arm, seed, lr, steps):
        key = dict(base=BASE, kind=kind, arm=arm, seed=seed, lr=lr, steps=steps)
        return run_once(file, key, lambda: one(models, folder, kind, arm, seed, lr, steps, patterns.get(arm)))
    run('before', 'none', 0, 0., 0)
    rates = {}
    for arm in arms:
        tried = [run('tune', arm, TUNING_SEED, lr, STEPS // 2) for lr in RATES]
        rates[arm] = min(tried, key=lambda row: (rate(row), row['lr']))['lr']
    for seed in seeds:
        for arm in arms:
            run('run', arm, seed, rates[arm], STEPS)


def gates_at_mean(models, folder, row, pattern):
    "A run again; errors as they were, and with every layer's gate at that of the mean sound of its training"
    speech, tests, _ = trained_on(models, folder, 'run', row['arm'], row['seed'], row['lr'], row['steps'], pattern)
    again = tested(speech, tests)
    for name, layer in list(adapted_layers(speech.model).items()):
        if not hasattr(layer, 'opening'):
            continue
        parent, _, child = name.rpartition('.')
        setattr(speech.model.get_submodule(parent), child, layer.constant_adapter())
    return dict(same=again['errors'] == row['errors'], words=again['words'], errors=again['errors'],
                constant=tested(speech, tests)['errors'])


def watch_gates(file, models, folder, arms, seeds):
    "A row for each run of the arms and seeds"
    for row in [r for r in read(file) if r['kind'] == 'run' and r['arm'] in arms and r['seed'] in seeds]:
        if ARMS[row['arm']] is None:
            continue
        key = {k: row[k] for k in ('base', 'arm', 'seed', 'lr', 'steps')}
        pattern = top_up(models, row['arm'])
        run_once(file, dict(kind='gates') | key, lambda: gates_at_mean(models, folder, row, pattern))


def cues_of(features):
    "The five cues (5, T), as gates hear them"
    return sound_cues(features, sounding_frames(features))[0]


def bands_of(features):
    "The log-mel bands themselves (80, T)"
    return features[0, :, :int(sounding_frames(features))]


def encoded_by(speech):
    "A function that gives what the base's encoder makes of features (384, T), each of its frames twice"
    @torch.no_grad()
    def encoded(features):
        heard = speech.model.model.encoder(features).last_hidden_state[0].T
        return heard.repeat_interleave(2, 1)[:, :int(sounding_frames(features))]
    return encoded


def windows(speech, rows, read, span):
    "What is read of `span` frames around every fifth frame (N, read · span), and the domain of that frame (N,)"
    found, domains = [], []
    for row in rows:
        heard = read(speech.collator()([row])['input_features'])
        around = torch.nn.functional.pad(heard, (span // 2, span // 2)).unfold(-1, span, 1)
        for domain, start, end in row['parts']:
            chosen = range(round(100 * start), min(round(100 * end), heard.shape[1]), 5)
            found.append(around[:, list(chosen)].transpose(0, 1).flatten(1))
            domains += [DOMAINS[domain]] * len(chosen)
    return torch.cat(found), torch.tensor(domains)


def balanced(says, domains):
    "The mean of both domains' share of right answers"
    return mean((says[domains == side].sign() == side).float().mean().item() for side in (1., -1.))


def linear_classifier(x, y):
    "Weights (features,) by logistic regression, both domains as heavy"
    weight = torch.zeros(x.shape[1], requires_grad=True)
    share = torch.where(y > 0, 0.5 / (y > 0).float().mean(), 0.5 / (y < 0).float().mean())
    optimizer = torch.optim.LBFGS([weight], max_iter=200)
    def closure():
        optimizer.zero_grad()
        loss = (torch.nn.functional.softplus(-y * (x @ weight)) * share).mean() + 1e-4 * weight.square().sum()
        loss.backward()
        return loss
    optimizer.step(closure)
    return weight.detach()


def cues_tell(models, folder):
    "A linear classifier of frames in joined recordings: right answers in the test"
    speech = base(models)
    train, tests = data(folder, 'run')
    train = [row for row in train if len(row['parts']) == 2][:150]
    for read, span in ((cues_of, 1), (cues_of, 15), (cues_of, 51), (bands_of, 1), (encoded_by(speech), 1)):
        x, y = windows(speech, train, read, span)
        x_test, y_test = windows(speech, tests['joined'], read, span)
        means, spreads = x.mean(0), x.std(0).clamp_min(1e-3)
        x, x_test = (torch.cat([(v - means) / spreads, torch.ones(len(v), 1)], 1) for v in (x, x_test))
        weight = linear_classifier(x, y)
        print(f'{read.__name__}, {span} frames: {balanced(x @ weight, y):.1%} right in training, '
              f'{balanced(x_test @ weight, y_test):.1%} in the test ({len(y_test)} frames)')


def of_test(rows, name):
    "Rows as `more_errors` compares them, for one test"
    return [r | dict(errors=r['errors'][name], words=r['words'][name]) for r in rows]


def capped(rows):
    "The same, and no recording has more errors than words"
    return [r | dict(errors=[min(e, n) for e, n in zip(r['errors'], r['words'], strict=True)]) for r in rows]


def more(rows, than):
    "Cells of a table: % more errors on each test"
    cells = [said(more_errors(of_test(rows, t), of_test(than, t))) for t in TESTS]
    cells.insert(1, said(more_errors(capped(of_test(rows, 'joined')), capped(of_test(than, 'joined')))))
    return ' | '.join(cells)


def columns(*names):
    "The first two lines of a table"
    return [f"| {' | '.join(names)} |", '|---' * len(names) + '|']


def table(rows):
    "Markdown: errors, differences, gates and tuning; of seeds that every arm has"
    rows = whole_seeds(rows)
    out = [f'{BASE}, rank {R}, {STEPS} steps of {BATCH}', '']
    out += [*columns('arm', 'joined', 'children', 'prompts', 'loops', 'lr', 'seeds'), *_rates(rows), '']
    for other in ('lora', 'noise'):
        out += [f'% more errors than {other} (95 %)', '']
        out += [*columns('arm', 'joined', 'joined, capped', 'children', 'prompts'), *_against(rows, other), '']
    out += ['Capped: the errors of a recording count at most as its words, so that a loop is no more than a miss.', '']
    out += ['How gates stand on the tests, mean of seeds', '']
    differences = 'child less prompt, joined', 'child less prompt, plain'
    out += [*columns('arm', 'place', 'spread in time', *differences, 'mean from 1'), *_standing(rows), '']
    out += [*_constant(rows), 'Tuning, WER of all words on held-out training rows', '']
    out += [*columns('arm', *(f'{lr:g}' for lr in RATES)), *_tuned(rows), '']
    return narrow('\n'.join(out), most=7)


def whole_seeds(rows):
    "Without the runs of seeds that some arm lacks"
    runs = [r for r in rows if r['kind'] == 'run']
    arms = {r['arm'] for r in runs}
    return [r for r in rows if r['kind'] != 'run' or {s['arm'] for s in runs if s['seed'] == r['seed']} == arms]


def _runs(rows, arm):
    return [r for r in rows if r['kind'] == 'run' and r['arm'] == arm and r['steps'] == STEPS]


def _rates(rows):
    "WER by test"
    for row in rows:
        if row['kind'] == 'before':
            cells = ' | '.join(f"{row['wer'][t]:.1%}" for t in TESTS)
            yield f"| none | {cells} | {sum(row['loops'].values())} | - | - |"
    for arm in ARMS:
        if runs := _runs(rows, arm):
            cells = ' | '.join(f"{mean(r['wer'][t] for r in runs):.2%}" for t in TESTS)
            looped = mean(sum(r['loops'].values()) for r in runs)
            yield f"| {arm} ({runs[0]['parameters']:,}) | {cells} | {looped:.1f} | {runs[0]['lr']:g} | {len(runs)} |"


def _against(rows, other):
    "Differences by test"
    reference = _runs(rows, other)
    for arm in ARMS:
        runs = _runs(rows, arm)
        if runs and reference and arm != other:
            yield f'| {arm} | {more(runs, reference)} |'


def _standing(rows):
    "Gates by place"
    for arm, place in itertools.product(ARMS, ('encoder', 'fusion', 'decoder')):
        of = [r['standing'][place] for r in _runs(rows, arm) if place in r.get('standing', {})]
        if of:
            cells = ' | '.join(f'{mean(s[k] for s in of):.3f}' for k in ('spread', 'halves', 'plain', 'shift'))
            yield f'| {arm} | {place} | {cells} |'


def _constant(rows):
    "Errors with gates at their mean"
    watched = [r for r in rows if r['kind'] == 'gates']
    if not watched:
        return
    yield from ['With every gate at its mean, % more errors than as trained (95 %)', '']
    yield from columns('arm', 'joined', 'joined, capped', 'children', 'prompts', 'seeds')
    for arm in ARMS:
        if mine := [r for r in watched if r['arm'] == arm]:
            at_mean = [r | dict(errors=r['constant']) for r in mine]
            yield f'| {arm} | {more(at_mean, mine)} | {len(mine)} |'
    yield ''


def _tuned(rows):
    "WER of held-out rows by rate"
    for arm in ARMS:
        tried = {r['lr']: rate(r) for r in rows if r['kind'] == 'tune' and r['arm'] == arm}
        if tried:
            yield f"| {arm} | {' | '.join(f'{tried[lr]:.1%}' if lr in tried else '-' for lr in RATES)} |"


def plan(models, folder):
    "What all of it costs, from a few steps and the tests on this machine"
    train, tests = data(folder, 'run')
    print(f"{len(train)} training rows, tests of {', '.join(f'{len(v)} {k}' for k, v in tests.items())}")
    speech = base(models)
    adapt(speech.model, 'rank', 0)
    start = time.time()
    finetune(speech.model, train, telling(speech), steps=16, batch_size=BATCH, lr=RATES[-1], seed=0, desc=None)
    step = (time.time() - start) / 16
    start = time.time()
    got = tested(speech, tests)
    standing(speech, tests)
    heard = time.time() - start
    tuning, runs = len(ARMS) * len(RATES), len(ARMS) * len(SEEDS)
    run = STEPS * step + heard
    print(f'a step {step:.2f} s, the tests {heard:.0f} s: {tuning} tuning runs {tuning * run / 120:.0f} min, '
          f'{runs} runs {runs * run / 60:.0f} min', got['wer'], got['loops'])


if __name__ == '__main__':
    p = folders_options(__doc__, BASE, RESULTS)
    p.add_argument('--only', nargs='*', choices=list(ARMS), default=list(ARMS), help='arms')
    p.add_argument('--seeds', nargs='*', type=int, default=SEEDS)
    for flag in ('plan', 'gates', 'cues'):
        p.add_argument(f'--{flag}', action='store_true')
    a = parsed_folders(p, table)
    if a.plan:
        plan(a.models, a.folder)
    elif a.cues:
        cues_tell(a.models, a.folder)
    elif a.gates:
        watch_gates(a.results, a.models, a.folder, a.only, a.seeds)
    else:
        study(a.results, a.models, a.folder, a.only, a.seeds)
