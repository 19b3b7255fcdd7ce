"""Do adapters that follow the sound beat plain ones on human digits (FSDD) whose rate, noise or silence changes on the way?

    python studies/temporal.py PATH_TO_FSDD              # all of it: learning rates first, then every arm and seed; goes on where it stopped
    python studies/temporal.py PATH_TO_FSDD --only rank lora --seeds 0 1
    python studies/temporal.py PATH_TO_FSDD --rank 2 --only lora constant noise scale rank route      # where a rank is scarce
    python studies/temporal.py PATH_TO_FSDD --steps 400 --only lora constant noise scale rank route   # some of them for longer
    python studies/temporal.py PATH_TO_FSDD --gates      # after that: how much do the gates of `rank` move, and what do its adapters do with every gate at its mean?
    python studies/temporal.py PATH_TO_FSDD --plan       # measures one step and one test on this machine and says what all of it costs
    python studies/temporal.py PATH_TO_FSDD --smoke      # a few steps of two arms into a temporary file, the first of them twice: is it deterministic?
    python studies/temporal.py --table                   # the tables from the runs so far

Question. `temporal` wants 10 % fewer word errors, relative, than plain LoRA on the three uneven tests together, at equal parameters, and no more on the clean one.

Arms. lora, rslora (no gate); constant (gates that hear nothing), noise and shuffle (gates that hear fixed random numbers, or the cues mixed up in time), conv (gated convolution in the
bottleneck, encoder and projector); scale, rank, route, top1 (gates that hear the sound). Each has an adapter of rank 16 (--rank) on every linear layer of the NF4 base. Arms with fewer gates get a rank
more on as many layers as bring them closest to the parameters of `rank` (`top_up`; the scaling of a layer stays what it was).

Data. Connected digits of one to five, all speakers. Training: recordings 5 and up of each digit and speaker; half of the rows are changed by one of the three ways, for every arm.
Tests: recordings 0 to 4, the same utterances four times: clean, uneven rate, bursts of noise, silences. What changes where depends on the row's number alone.
--left-out SPEAKER trains on the other speakers and tests on that one, at the learning rates that were chosen with all of them.

Learning rates. Every arm gets the same effort: each rate of `LRS` once (rslora, whose scaling is four times as large, each of them divided by four), half the steps, seed 100, trained on
recordings 10 and up, judged by the mean WER of the four conditions on half as many utterances of recordings 5 to 9. Test recordings take no part. The gates' `gain`, `hidden` and `context` are the defaults for all arms, chosen without these data.

Evidence. Every row keeps each utterance's errors. Intervals: 10,000 paired bootstrap draws of utterances and of seeds, the same for both arms (a seed means the same data in the same order).

Compute plan. One run is STEPS steps of 8 utterances and four tests of N_TEST utterances; one tuning run is half of that. 10 arms: 40 tuning runs and 10 · seeds runs. --plan
measures this machine. One thread took 0.62 s for a step of 16 and 0.29 s for a step of 8: 8 it is, and 150 steps, in about
a minute a run with its tests, an hour and a half for everything.
Rows state the fingerprint of the base they were run on, and a table is made for each base.
"""
import dataclasses, random, re, statistics, tempfile, time
from collections import defaultdict
from pathlib import Path
import torch
from paired import address, development, errors, fingerprint, left_out_table, more_errors, options, parsed, read, run_once, said, without
from qlora_audio.adapters.saving import adapted_layers
from qlora_audio.sound.augment import Augment
from qlora_audio.models.audio_text import SpeechCollator
from qlora_audio.sound.corpora import load_speech
from qlora_audio.adapters.targets import LoRAConfig, add_lora, count_parameters
from qlora_audio.models.quantize import NF4Config
from qlora_audio.tools.base import load_base
from qlora_audio.strategies.temporal import UNEVEN, TemporalConfig, add_temporal_lora, gate_parameters
from qlora_audio.training.loop import TUNE_AUGMENT, finetune

RESULTS = Path(__file__).with_suffix('.jsonl')
R, STEPS, BATCH, N_TRAIN, N_TEST, SEEDS, LRS, TUNING_SEED = 16, 150, 8, 1500, 200, (0, 1, 2, 3, 4), (1e-3, 2e-3, 4e-3, 8e-3), 100
TESTS = ('clean', *UNEVEN)
ARMS = dict(lora=None, rslora=None, constant=TemporalConfig('rank', cues=()), noise=TemporalConfig('rank', control='noise'), shuffle=TemporalConfig('rank', control='shuffle'),
            conv=TemporalConfig('conv', where=('encoder', 'fusion')), scale=TemporalConfig('scale'), rank=TemporalConfig('rank'), route=TemporalConfig('route'), top1=TemporalConfig('route', hard=True))


@dataclasses.dataclass
class UnevenAugment(Augment):
    "The usual changes, and in half of the rows one of the three uneven ones"
    uneven_p:float = 0.5
    def sound(self, wave, sampling_rate):
        wave = super().sound(wave, sampling_rate)
        if torch.rand(()).item() >= self.uneven_p: return wave
        rng = random.Random(int(torch.randint(1 << 30, ())))
        return UNEVEN[rng.choice(list(UNEVEN))](wave, sampling_rate, rng)


def follows(arm, r):
    "How an arm's adapters follow the sound; not more adapters to choose from than ranks"
    config = ARMS[arm]
    return dataclasses.replace(config, k=min(config.k, r)) if config and config.mode == 'route' else config


def make(arm, seed, r, pattern=None):
    "The 4-bit base with the adapters of an arm, their scaling 2 (rslora: 2 √r)"
    model, alphas = load_base(quantize=NF4Config()), {n: 2 * more for n, more in (pattern or {}).items()} if arm != 'rslora' else {}
    torch.manual_seed(seed)
    config = LoRAConfig(r=r, lora_alpha=2 * r, lora_dropout=0., use_rslora=arm == 'rslora', rank_pattern=pattern or {}, alpha_pattern=alphas)
    return add_lora(model, config) if ARMS[arm] is None else add_temporal_lora(model, config, follows(arm, r))


def top_up(arm, r):
    "Name of a layer → its larger rank, so that the arm has about as many parameters as `rank`"
    wanted, model, pattern = count_parameters(make('rank', 0, r))['trainable'], make(arm, 0, r), {}
    missing, more = wanted - count_parameters(model)['trainable'], follows(arm, r).k if arm in ('route', 'top1') else 1
    for name, layer in sorted(adapted_layers(model).items(), key=lambda kv: -(kv[1].in_features + kv[1].out_features)):
        gate = layer.lora_gate.weight.numel() // r + 1 if arm in ('constant', 'conv') and hasattr(layer, 'lora_gate') else 0
        cost = more * (layer.in_features + layer.out_features + gate)
        if cost <= missing: pattern[re.escape(name)], missing = r + more, missing - cost
    return pattern


def tests(where, n):
    "Condition → rows: the same utterances, changed in each of the ways"
    rows, out = [*load_speech(where, 'test', n=n, seed=0)], {}
    for name in TESTS:
        out[name] = []
        for i, row in enumerate(rows):
            wave, rate = torch.as_tensor(row['audio']['array'], dtype=torch.float32), row['audio']['sampling_rate']
            if name != 'clean': wave = UNEVEN[name](wave, rate, random.Random(f'{name} {i}'))
            out[name].append(dict(row, audio=dict(array=wave.numpy(), sampling_rate=rate), duration=len(wave) / rate))
    return out


def trained_on(path, kind, arm, seed, lr, steps, r, n_train, n_test, left_out=''):
    "→ the model of an arm, trained, and the tests"
    with tempfile.TemporaryDirectory() as folder:
        home = development(path, folder) if kind == 'tune' else path
        train, test = [*load_speech(address(home, kind, 'train', left_out), 'train', n=n_train, seed=seed)], tests(address(home, kind, 'test', left_out), n_test)
    model = load_base(quantize=NF4Config()) if kind == 'base' else make(arm, seed, r, top_up(arm, r))
    if kind != 'base':
        augment = UnevenAugment(**dataclasses.asdict(TUNE_AUGMENT))
        finetune(model, train, SpeechCollator(model.processor, model.num_audio_tokens, augment), steps=steps, batch_size=BATCH, lr=lr, seed=seed, desc=f'{kind} {arm} seed {seed} lr {lr:g}')
    return model, test


def one(path, kind, arm, seed, lr, steps, r=R, n_train=N_TRAIN, n_test=N_TEST, left_out=''):
    "One run as a row"
    start = time.time()
    model, test = trained_on(path, kind, arm, seed, lr, steps, r, n_train, n_test, left_out)
    trained, words = time.time() - start, [len(r['text'].split()) for r in test['clean']]
    wrong = {name: errors(model, rows)[0] for name, rows in test.items()}
    gates = gate_parameters(model)['gates'] if kind != 'base' and ARMS[arm] else 0
    return dict(wer={n: sum(e) / sum(words) for n, e in wrong.items()}, trainable=count_parameters(model)['trainable'] if kind != 'base' else 0,
                gates=gates, seconds=round(trained), test_seconds=round(time.time() - start - trained), words=words, errors=wrong)


def gates_of(path, arm, seed, lr, steps, r=R, n_train=N_TRAIN, n_test=N_TEST):
    "One run again, its gates watched, and then kept at their mean: a row"
    model, test = trained_on(path, 'run', arm, seed, lr, steps, r, n_train, n_test)
    layers, seen = {n: m for n, m in adapted_layers(model).items() if hasattr(m, 'opening')}, defaultdict(list)
    def watched(name, opening):
        def f(heard):
            g = opening(heard)
            if heard.ndim == 3 and heard.shape[1] > 1: seen[name].append((g.std(1).mean().item(), (g.mean(1) - 1).abs().mean().item()))
            return g
        return f
    for n, m in layers.items(): m.opening = watched(n, m.opening)
    wrong = {name: errors(model, rows)[0] for name, rows in test.items()}
    for n, m in layers.items():
        del m.opening
        parent, _, child = n.rpartition('.')
        setattr(model.get_submodule(parent), child, m.constant_adapter())
    constant = {name: errors(model, rows)[0] for name, rows in test.items()}
    by_place = {place: [statistics.mean(v[i] for n, vs in seen.items() if layers[n].place == place for v in vs) for i in (0, 1)] for place in ('encoder', 'fusion', 'decoder')}
    return dict(spread={k: v[0] for k, v in by_place.items()}, shift={k: v[1] for k, v in by_place.items()}, errors=wrong, constant=constant)


def rank_of(r): return {} if r == R else dict(r=r) # rows of the first rank do not name it


def watch_gates(file, path, arm, seeds, steps, r=R):
    "A row for each seed that the study has run"
    for row in [row for row in read(file) if row['base'] == fingerprint() and (row['kind'], row['arm'], row['steps'], row.get('r', R), row.get('left_out', '')) == ('run', arm, steps, r, '') and row['seed'] in seeds]:
        key = {k: row[k] for k in ('arm', 'seed', 'lr', 'steps', 'base', 'n_train', 'n_test')} | rank_of(r)
        again = run_once(file, dict(kind='gates') | key, lambda: gates_of(path, arm, row['seed'], row['lr'], row['steps'], r, row['n_train'], row['n_test']))
        if again['errors'] != row['errors']: print(f'seed {row["seed"]}: not the same errors as in its run')


def study(file, path, arms, seeds, steps, r=R, lrs=LRS, n_train=N_TRAIN, n_test=N_TEST, left_out=''):
    "Learning rates, then every arm seed by seed"
    base, chosen = fingerprint(), {}
    tested = lambda kind: n_test // 2 if kind == 'tune' else n_test
    out = lambda kind: '' if kind == 'tune' else left_out
    run = lambda kind, arm, seed, lr, n: run_once(file, dict(kind=kind, arm=arm, seed=seed, lr=lr, steps=n, base=base, n_train=n_train, n_test=tested(kind)) | (rank_of(r) if arm != 'base' else {}) | without(out(kind)),
                                                  lambda: one(path, kind, arm, seed, lr, n, r, n_train, tested(kind), out(kind)), lambda row: row.get('r', R) == (r if arm != 'base' else R) and row.get('left_out', '') == out(kind))
    run('base', 'base', 0, 0., 0)
    for arm in arms:
        tried = [run('tune', arm, TUNING_SEED, lr / 4 if arm == 'rslora' else lr, max(steps // 2, 1)) for lr in lrs]
        chosen[arm] = min(tried, key=lambda r: (statistics.mean(r['wer'].values()), r['lr']))['lr']
    for seed in seeds:
        for arm in arms: run('run', arm, seed, chosen[arm], steps)


def together_in(rows, names): return [r | dict(words=[len(names) * w for w in r['words']]) for r in summed([r for r in rows if r['kind'] != 'tune'], names)]


def summed(rows, names): return [r | dict(errors=[sum(e) for e in zip(*(r['errors'][n] for n in names), strict=True)]) for r in rows]


def of_size(mine, steps, rank, n_train, n_test):
    "Lines of the table for one number of steps and one rank"
    same = lambda kind, steps=steps, n_test=n_test: [r for r in mine if (r['kind'], r['steps'], r.get('r', R), r['n_train'], r['n_test']) == (kind, steps, rank, n_train, n_test)]
    out, runs = [f'{steps} steps, rank {rank}', '', f'| arm | trainable | of it gates | {" | ".join(TESTS)} | % more errors than lora, uneven (95 %) | % more errors than lora, clean (95 %) | lr | seeds |', '|---' * (len(TESTS) + 7) + '|'], same('run')
    for r in mine:
        if r['kind'] == 'base' and r['n_test'] == n_test: out.append('| none | - | - | ' + ' | '.join(f"{r['wer'][t]:.1%}" for t in TESTS) + ' | - | - | - | - |')
    plain = [r for r in runs if r['arm'] == 'lora']
    for arm in ARMS:
        if not (of := [r for r in runs if r['arm'] == arm]): continue
        against = [said(more_errors(summed(of, names), summed(plain, names))) if arm != 'lora' and plain else '-' for names in (tuple(UNEVEN), ('clean',))]
        cells = [f"{statistics.mean(r['wer'][t] for r in of):.1%}" for t in TESTS]
        out.append(f"| {arm} | {of[0]['trainable']:,} | {of[0]['gates']:,} | {' | '.join(cells)} | {' | '.join(against)} | {of[0]['lr']:g} | {len(of)} |")
    if watched := same('gates'):
        says = ', '.join(f"{place} {statistics.mean(r['spread'][place] for r in watched):.2f} (mean {statistics.mean(r['shift'][place] for r in watched):.2f} from 1)" for place in watched[0]['spread'])
        mean_gate = [r | dict(errors=r['constant']) for r in watched]
        against = [said(more_errors(summed(mean_gate, names), summed(watched, names))) for names in (tuple(UNEVEN), ('clean',))]
        out += ['', f"Gates of `{watched[0]['arm']}`, {len(watched)} seeds. Standard deviation over the frames of a recording: {says}. With every gate at its mean, % more errors: uneven {against[0]}, clean {against[1]}."]
    if tuned := same('tune', max(steps // 2, 1), n_test // 2):
        lrs = sorted({r['lr'] for r in tuned})
        out += ['', 'Tuning, mean WER of the four conditions on recordings 5 to 9', '', f'| arm | {" | ".join(f"{lr:g}" for lr in lrs)} |', '|---' * (len(lrs) + 1) + '|']
        for arm in ARMS:
            cells = [next((f"{statistics.mean(r['wer'].values()):.1%}" for r in tuned if r['arm'] == arm and r['lr'] == lr), '-') for lr in lrs]
            if set(cells) != {'-'}: out.append(f'| {arm} | {" | ".join(cells)} |')
    return out + ['']


def table(rows):
    "Markdown: for each base, number of steps and rank, WER of every arm on every test, and how many % more errors than lora"
    out = []
    for base in dict.fromkeys(r['base'] for r in rows):
        mine = [r for r in rows if r['base'] == base and not r.get('left_out')]
        sizes = dict.fromkeys((r['steps'], r.get('r', R), r['n_train'], r['n_test']) for r in mine if r['kind'] == 'run')
        for size in sizes: lines = of_size(mine, *size); out += [f'Base {base}, {lines[0]}', *lines[1:]]
        for what, names in (('the three uneven tests', tuple(UNEVEN)), ('the clean test', ('clean',))):
            out += left_out_table(together_in([r for r in rows if r['base'] == base and r.get('left_out')], names), lambda r: 'none' if r['arm'] == 'base' else r['arm'], {'lora': lambda name: 'lora'}, f': {what}')
    return '\n'.join(out)


def plan(path, arms, seeds, steps, r=R):
    "What all of it costs, from a few steps and a small test on this machine"
    cost = {}
    for arm in ('lora', 'rank'):
        short, longer = (one(path, 'run', arm, 0, 1e-3, n, r, 200, 40) for n in (2, 12))
        cost[arm] = (longer['seconds'] - short['seconds']) / 10, longer['test_seconds'] / 40
    step, heard = (max(c[i] for c in cost.values()) for i in (0, 1))
    run = steps * step + N_TEST * heard
    n_runs, n_tuning = len(arms) * len(seeds), len(arms) * len(LRS)
    print(f'a step {step:.2f} s, one utterance in four tests {heard:.2f} s, {torch.get_num_threads()} threads: a run {run / 60:.1f} min; {n_tuning} tuning runs {n_tuning * run / 7200:.1f} h, {n_runs} runs {n_runs * run / 3600:.1f} h')


def smoke(path):
    "Two arms and a repetition, small: rows, resuming, determinism, the table"
    sizes = dict(n_train=60, n_test=12)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder)/'rows.jsonl'
        study(file, path, ('lora', 'rank'), (0, 1), 4, lrs=(1e-3, 2e-3), **sizes)
        rows = read(file)
        study(file, path, ('lora', 'rank'), (0, 1), 4, lrs=(1e-3, 2e-3), **sizes)
        assert read(file) == rows, 'a finished run was repeated'
        first = next(r for r in rows if r['kind'] == 'run')
        again = one(path, 'run', first['arm'], first['seed'], first['lr'], 4, **sizes)
        assert again['errors'] == first['errors'], 'the same run gave other errors'
        print(table(rows))
    print('parameters:', {arm: count_parameters(make(arm, 0, R, top_up(arm, R)))['trainable'] for arm in ARMS})


if __name__ == '__main__':
    p = options(__doc__, ARMS, SEEDS, STEPS, RESULTS)
    p.add_argument('--gates', action='store_true')
    p.add_argument('--rank', type=int, default=R)
    a = parsed(p, table)
    if a.gates: watch_gates(a.results, a.path, 'rank', a.seeds, a.steps, a.rank)
    elif a.smoke: smoke(a.path)
    elif a.plan: plan(a.path, a.only, a.seeds, a.steps, a.rank)
    else: study(a.results, a.path, a.only, a.seeds, a.steps, a.rank, left_out=a.left_out)
