"""How many of the frames in Whisper's 30 seconds are needed, without training?

    python studies/windows.py FOLDER_OF_MODELS FOLDER_OF_CORPORA           # every arm; goes on where it stopped
    python studies/windows.py MODELS CORPORA --only dev --minutes 7        # a part, and no longer
    python studies/windows.py MODELS CORPORA --only time                   # seconds, in turns
    python studies/windows.py --table                                      # the tables from the runs so far

Ground. whisper-tiny.en in NF4, float32 arithmetic, no adapter, greedy, at most 48 tokens a text; speechocean762_child
(children who learn English), recordings of 3.4 seconds. Every arm hears the same recordings in batches of 16.

Arms. `full`: the window of 30 seconds, 1,500 frames. `own n s`: a window as long as the longest recording of a batch
and n seconds of silence. `silence m k`: the full window, but only frames of sound (above 40 dB under the loudest of
their recording) and m frames on either side enter the encoder's layers, and of the silence beyond a share k, evenly;
with `counted`, attention counts each of these as often as it stands for frames.

Plan. 36 recordings of 9 training speakers choose the base: of the arms with at most 1 % more errors than `full` the
one with the fewest frames; if there is none, the one with the fewest errors. All arms then hear the test part once:
144 recordings of 24 other speakers, in quarters (every fourth recording), so that a slow machine has the first of all
arms before it begins the second. Beyond silence, with the base and a share of its frames: `uniform`, `pool` (mean
of neighbours), `similarity` (merging what is alike, the idea of A-ToMe), `energy`, `novelty`; and with `+kept` frames
that 4 bits are predicted to hear badly are kept rather, the prediction fitted on 32 other training recordings.

Second look, planned when the first was done: most of what short windows cost were texts that repeat themselves.
`own n s, again`: a text that ends in the same tokens four times over is stopped, and written again from the full
window (`fallback` of `load_model`); the frames of both windows count. All 336 recordings of the training part
choose (`choice`) by the rule above; the test part, which the first look has heard, hears `full` and the chosen one,
and the seconds are taken of these.

Evidence. A row keeps word errors of each recording, without case and punctuation. Intervals: 10,000 paired bootstrap
draws of recordings. A *loop* is a text with more than twice as many errors as there are words, such as one that
repeats itself until the limit of tokens.
"""
import statistics
import time
from pathlib import Path
import torch
import transformers
from paired import folders_options, more_errors, parsed_folders, read, run_once, said
from released import split_rows, word_counts
from qlora_audio.models.quantize import NF4Config
from qlora_audio.models.released import load_model
from qlora_audio.strategies.frames import Silence, forward_flops, select_all, select_frames

RESULTS = Path(__file__).with_suffix('.jsonl')
CORPUS, BASE, FULL, TOKENS = 'speechocean762_child', 'whisper-tiny.en', 1500, 48
OWN = {f'own {n} s': n for n in (5, 2, 1)}
AGAIN = {f'own {n} s, again': n for n in (5, 4, 3, 2)}
SILENCE = {f'silence {m} {k:g}{" counted" if count else ""}': (m, k, count) for m, k, count in (
    (50, .1, True), (50, .1, False), (10, .1, True), (50, 0., False), (250, 0., False))}
FIRST = ('full', *OWN, *SILENCE)
RULES = dict(pool=dict(by='uniform', mode='merge'), similarity=dict(by='similarity', mode='merge'),
             uniform=dict(by='uniform'), energy=dict(by='energy'), novelty=dict(by='novelty'))
RULES |= {f'{name}+kept': RULES[name] | dict(mind='keep') for name in ('uniform', 'pool', 'similarity')}
SHARES = (.5, .75, .35)


class Ears:
    "The model, read when it is first needed, and the recordings"
    def __init__(self, models, folder):
        self.models, self.folder, self.models_read = models, folder, {}

    def speech(self, bits=4):
        "In 4 bits, or in 16"
        if bits not in self.models_read:
            quantize = NF4Config() if bits == 4 else None
            self.models_read[bits] = load_model(f'{self.models}/{BASE}', quantize, dtype=torch.float32)
        return self.models_read[bits]

    def rows(self, kind, part=0):
        "Recordings of `dev`, `test` or `fit`"
        train, test = split_rows(self.folder, CORPUS, 'run' if kind in ('test', 'choice') else 'tune')
        if kind == 'choice':
            return train[part::4]
        return train[::len(train) // 32][:32] if kind == 'fit' else test[part::4 if kind == 'test' else 2]

    def select(self, arm):
        "Put an arm's window and selection into the model"
        name, _, rest = arm.partition(' | ')
        speech = self.speech()
        settings = select_all(speech.model).speech_settings
        own = OWN | AGAIN
        settings.window, settings.pad_seconds = ('own', own[name]) if name in own else ('full', 1.)
        settings.fallback = name in AGAIN
        how = dict(place='encoder', keep=1., by='uniform')
        if name in SILENCE:
            margin, keep, count = SILENCE[name]
            how |= dict(silence=Silence(-40., margin, keep), count=count)
        if rest:
            rule, share = rest.split()
            how |= RULES[rule] | dict(keep=float(share))
            if 'mind' in how:
                batches = [speech.collator()(self.rows('fit')[i:i + 8]) for i in range(0, 32, 8)]
                how |= dict(original=self.speech(16).model, batches=batches)
        if name in SILENCE or rest:
            select_frames(speech.model, **how)
        return speech


def heard(speech, rows):
    "Texts, and for each window that was heard its entries and the frames that were kept"
    seen = []
    def look(encoder, args, kwargs, output):
        features = args[0] if args else kwargs['input_features']
        selector = speech.model._modules.get('frame_selector')
        kept = [output[0].shape[1]] * len(features) if selector is None else selector.last.lengths.tolist()
        seen.extend((features.shape[-1], n) for n in kept)
    handle = speech.model.model.encoder.register_forward_hook(look, with_kwargs=True)
    start = time.time()
    try:
        texts = speech.transcribe([r['audio'] for r in rows], batch_size=16, max_new_tokens=TOKENS)
    finally:
        handle.remove()
    return texts, seen, time.time() - start


def tested(ears, kind, arm, part=0):
    "Errors, frames and operations of an arm"
    rows = ears.rows(kind, part)
    speech = ears.select(arm)
    texts, seen, seconds = heard(speech, rows)
    wrong, words, rates = word_counts(rows, texts, 'english')
    n_words = round(statistics.mean(len(speech.processor.tokenizer(r['text']).input_ids) for r in rows))
    flops = [forward_flops(speech.model, entries, n_words, kept) for entries, kept in seen]
    ops = {k: round(sum(f[k] for f in flops) / len(rows) / 1e9, 4) for k in ('encoder', 'all')}
    frames = round(100 * sum(kept for _, kept in seen) / len(rows) / FULL, 2)
    return rates | dict(frames=frames, again=len(seen) - len(rows), gflops=ops['all'], gflops_encoder=ops['encoder'],
                        seconds=round(seconds, 1), words=words, errors=wrong)


def chosen(rows):
    "The base, by the plan"
    dev = [r for r in rows if r['kind'] == 'dev']
    full = sum(next(r for r in dev if r['arm'] == 'full')['errors'])
    good = [r for r in dev if sum(r['errors']) <= 1.01 * full and r['arm'] != 'full']
    if good:
        return min(good, key=lambda r: r['frames'])['arm']
    return min((r for r in dev if r['arm'] != 'full'), key=lambda r: sum(r['errors']))['arm']


def second(file, ears, run):
    "The training part chooses among windows with a second hearing; the test part hears the chosen one"
    for part in range(4):
        for arm in ('full', *AGAIN):
            run('choice', arm, part=part)
    rows = [r for r in read(file) if r['kind'] == 'choice']
    if len(rows) < 4 * (1 + len(AGAIN)):
        return
    total = {arm: joined(rows, arm) for arm in ('full', *AGAIN)}
    good = [arm for arm in AGAIN if sum(total[arm]['errors']) <= 1.01 * sum(total['full']['errors'])]
    best = min(good, key=lambda arm: total[arm]['frames']) if good else min(AGAIN, key=lambda arm: total[arm]['wer'])
    for part in range(4):
        for arm in ('full', best):
            run('test', arm, part=part)
    timing(file, ears, ['full', best], named='time again')


def study(file, ears, only, minutes, arms=()):
    "Dev, then all arms on the test part"
    end = time.time() + 60 * minutes
    def run(kind, arm, **part):
        if time.time() < end:
            key = dict(corpus=CORPUS, base=BASE, kind=kind, arm=arm, seed=0) | part
            run_once(file, key, lambda: tested(ears, kind, arm, **part))
    if 'again' in only:
        second(file, ears, run)
    if 'dev' in only:
        for arm in FIRST:
            run('dev', arm)
    done = {r['arm'] for r in read(file) if r['kind'] == 'dev'}
    if not done.issuperset(FIRST):
        return
    base = chosen(read(file))
    beyond = [f'{base} | {rule} {share:g}' for share in SHARES for rule in RULES]
    others = [arm for arm in FIRST[1:] if arm != base]
    first = [beyond.pop(0) for _ in range(3)]
    if 'test' in only:
        for part in range(4):
            for arm in ('full', base, others[0], *first, *others[1:3], *beyond, *others[3:]):
                if not arms or arm in arms:
                    run('test', arm, part=part)
    if 'time' in only and time.time() < end:
        timing(file, ears, ['full', 'own 5 s', base, f'{base} | pool 0.5'])


def timing(file, ears, arms, rounds=5, n=16, named='time'):
    "Seconds for a batch of n test recordings, every arm once in each round: features, encoder and text"
    rows = ears.rows('test')[:n]
    seconds = {arm: [] for arm in arms}
    for i in range(rounds + 1):
        for arm in arms:
            taken = heard(ears.select(arm), rows)[2]
            if i: # the first round warms up
                seconds[arm].append(round(taken, 3))
    for arm in arms:
        key = dict(corpus=CORPUS, base=BASE, kind=named, arm=arm, seed=0, rounds=rounds)
        run_once(file, key, lambda: dict(taken=seconds[arm]))


def joined(rows, arm, parts=None):
    "The parts of an arm as one row; None if there are none"
    mine = [r for r in rows if r['arm'] == arm and (parts is None or r.get('part', 0) in parts)]
    if not mine:
        return None
    whole = {k: statistics.mean(r[k] for r in mine) for k in ('frames', 'gflops', 'cer_normalized')}
    whole |= {k: [n for r in mine for n in r[k]] for k in ('words', 'errors')}
    whole['wer'] = sum(whole['errors']) / sum(whole['words'])
    return whole | dict(arm=arm, seed=0, parts=[r.get('part', 0) for r in mine])


def lines(rows):
    "A line for each arm, against the full window on the same recordings"
    for arm in dict.fromkeys(r['arm'] for r in rows):
        r = joined(rows, arm)
        full = joined(rows, 'full', r['parts'])
        loss = '-' if arm == 'full' or full is None else said(more_errors([r], [full]))
        name = arm.replace(' | ', ', ')
        loops = sum(wrong > 2 * words for wrong, words in zip(r['errors'], r['words']))
        yield (f"| {name} ({len(r['words'])}) | {r['frames']:.1f} % | {r['gflops'] / full['gflops']:.0%} | "
               f"{r['wer']:.1%}, {r['cer_normalized']:.1%} | {loops} | {loss} |")


def table(rows):
    "Markdown: development, test, seconds"
    out = []
    for kind, title in (('test', 'Test part'), ('choice', 'Training part'), ('dev', 'Development')):
        mine = [r for r in rows if r['kind'] == kind]
        if mine:
            head = '| window (recordings) | frames | operations | WER, CER | loops | % more errors than full (95 %) |'
            out += [title, '', head, '|---' * 6 + '|', *lines(mine), '']
    for kind in ('time', 'time again'):
        timed = {r['arm']: r['taken'] for r in rows if r['kind'] == kind}
        if not timed:
            continue
        out += ['Seconds for a batch of 16, rounds in turns', '', '| window | seconds | share of full (range) |',
                '|---' * 3 + '|']
        for arm, taken in timed.items():
            ratio = [a / b for a, b in zip(taken, timed['full'])]
            out.append(f'| {arm} | {statistics.median(taken):.1f} | {statistics.median(ratio):.0%} '
                       f'({min(ratio):.0%} to {max(ratio):.0%}) |')
    return '\n'.join(out)


if __name__ == '__main__':
    p = folders_options(__doc__, 'whisper-tiny.en', RESULTS)
    parts = ('dev', 'test', 'time', 'again')
    p.add_argument('--only', nargs='*', choices=parts, default=parts)
    p.add_argument('--arms', nargs='*', default=(), help='of the test part; all if not given')
    p.add_argument('--minutes', type=float, default=1e9, help='no new arm is begun after so many')
    a = parsed_folders(p, table)
    transformers.logging.set_verbosity_error()
    study(a.results, Ears(a.models, a.folder), a.only, a.minutes, a.arms)
