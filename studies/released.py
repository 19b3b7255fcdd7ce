"""Does a frozen base in 4 bits cost anything on a released model and human speech?

    python studies/released.py FOLDER_OF_MODELS FOLDER_OF_CORPORA                  # every arm and seed; goes on where it stopped
    python studies/released.py MODELS CORPORA --corpora speechocean762_child --only lora16 nf4 --seeds 0 1
    python studies/released.py MODELS CORPORA --corpora fillets_cs --only lora16 nf4 --seeds 0 1 2 --untuned 1e-3
    python studies/released.py --table                                             # the tables from the runs so far

Ground. Each corpus is a folder with a manifest.jsonl (path, text, speaker, split) and has its base:
whisper-tiny.en on speechocean762_child (children who learn English), whisper-base on tuxpaint_be (Belarusian) and on
fillets_cs (Czech). Windows as long as the recordings and one second of silence.

Arms. `full` trains every weight but the fixed positions; `lora16` trains LoRA on the base as it was released, in
float32 arithmetic; `nf4`, `fp4` and `int4` train the same LoRA on a base in blocks of 64 with doubly quantized scales
(FP4 and INT4 as the numbers that such layers restore); `nf4 int8` is `nf4` with products in
8-bit integers; `peft+bnb` is NF4 by transformers, peft and bitsandbytes.
All LoRA arms have r = 16 on every linear layer, so their parameters are equal.

Learning rates. Every arm gets the same effort: each rate of `RATES` (a twentieth of it for full) once, half of the
steps, seed 100, on a part of the training split; judged on the rest of it. The test split takes no part.

`--untuned LR` is the shorter way for a corpus whose rates cannot be paid for: every arm at the one rate, in bfloat16
arithmetic, `lora16` on the base in bfloat16. Such rows are apart.

Evidence. A row keeps word errors of each utterance. Texts are compared without case and punctuation (Whisper's own
normalizer for English). Intervals: 10,000 paired bootstrap draws of utterances and seeds, the same for both arms.
Every run is a process of its own, whose peak memory it reports.
"""
import resource
import time
from pathlib import Path
from statistics import mean
import torch
import transformers
from paired import apart, folders_options, parsed_folders, points, read, run_once
from qlora import LEVELS, rounded
from qlora_audio.adapters.targets import LoRAConfig, add_lora
from qlora_audio.models.quantize import NF4Config, layers_to_quantize
from qlora_audio.models.released import load_model
from qlora_audio.sound.corpora import load_speech
from qlora_audio.sound.metrics import NORMALIZERS, error_rates, word_errors
from qlora_audio.training.loop import finetune

RESULTS = Path(__file__).with_suffix('.jsonl')
RATES = (5e-4, 1e-3, 2e-3)
TUNING_SEED = 100
SEEDS = tuple(range(5))
ARMS = ('full', 'lora16', 'nf4', 'nf4 int8', 'fp4', 'int4', 'peft+bnb')
FULL_RATE = 1 / 20 # of the others'
CORPORA = dict(
    speechocean762_child=dict(base='whisper-tiny.en', language='en', steps=150, normalizer='english'),
    tuxpaint_be=dict(base='whisper-base', language='be', steps=150, normalizer='basic'),
    fillets_cs=dict(base='whisper-base', language='cs', steps=150, normalizer='basic'))
BATCH = 8


def split_rows(folder, corpus, kind):
    "Training and test rows; in tuning both come out of the training split, by speakers where there are many"
    spec = f'manifest:{folder}/{corpus}/manifest.jsonl'
    rows = [*load_speech(spec, 'train', text='orthographic')]
    if kind != 'tune':
        return rows, [*load_speech(spec, 'test', text='orthographic')]
    speakers = sorted({r['speaker'] for r in rows})
    if len(speakers) > 5:
        held = set(speakers[::5])
        return [r for r in rows if r['speaker'] not in held], [r for r in rows if r['speaker'] in held]
    return [r for i, r in enumerate(rows) if i % 6], rows[::6]


def quantization(arm, dtype):
    "What `load_model` is given"
    if arm == 'nf4':
        return NF4Config()
    if arm == 'nf4 int8':
        return NF4Config(compute_dtype=torch.int8)
    if arm == 'peft+bnb':
        return transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type='nf4', bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype)
    return None


def adapt(model, arm, seed):
    "What is trained, by arm"
    torch.manual_seed(seed)
    if arm == 'full':
        model.requires_grad_(True)
        model.model.encoder.embed_positions.requires_grad_(False)
        return
    if arm in LEVELS:
        for layer in layers_to_quantize(model, NF4Config()).values():
            layer.weight.data = rounded(layer.weight, LEVELS[arm])
    if arm == 'peft+bnb':
        import peft
        names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != 'proj_out']
        config = peft.LoraConfig(r=16, lora_alpha=32, lora_dropout=0., target_modules=names)
        model.requires_grad_(False)
        peft.inject_adapter_in_model(config, model)
        return
    add_lora(model, LoRAConfig(r=16, lora_alpha=32, lora_dropout=0.))


def word_counts(rows, texts, normalizer):
    "Errors and words of each utterance, and both rates of the whole"
    normalize = NORMALIZERS[normalizer]
    references = [normalize(r['text']) for r in rows]
    hypotheses = [normalize(t) for t in texts]
    wrong = [word_errors(r, h) for r, h in zip(references, hypotheses)]
    rates = error_rates([r['text'] for r in rows], texts, normalizer)
    rates = {k: round(rates[k], 5) for k in ('wer', 'cer', 'wer_normalized', 'cer_normalized')}
    return wrong, [len(r.split()) for r in references], rates


def capped(wrong, words):
    "Fields of a row: at most as many errors as an utterance has words; a text that repeats itself decides nothing"
    errors = [min(e, w) for e, w in zip(wrong, words)]
    loops = sum(e > 2 * w for e, w in zip(wrong, words))
    return dict(capped=round(sum(errors) / sum(words), 5), loops=loops, words=words, all_errors=wrong, errors=errors)


def one(models, folder, corpus, kind, arm, seed, lr, steps, threads, dtype=torch.float32):
    "Train and test one arm; in a process of its own"
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(threads)
    about = CORPORA[corpus]
    train, test = split_rows(folder, corpus, kind)
    language = None if about['base'].endswith('.en') else about['language']
    speech = load_model(
        f"{models}/{about['base']}", quantization(arm, dtype), language=language, window='own',
        fallback=False, dtype=dtype)
    base_bytes = sum(t.nbytes for t in [*speech.model.parameters(), *speech.model.buffers()])
    adapt(speech.model, arm, seed)
    trained = sum(p.numel() for p in speech.model.parameters() if p.requires_grad)
    start = time.time()
    losses = []
    if steps:
        losses = finetune(
            speech.model, train, speech.collator(), steps=steps, batch_size=BATCH, lr=lr, seed=seed,
            desc=f'{corpus} {kind} {arm} seed {seed} lr {lr:g}')
    seconds = time.time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start = time.time()
    texts = speech.transcribe([r['audio'] for r in test], batch_size=16)
    wrong, words, rates = word_counts(test, texts, about['normalizer'])
    made = dict(rates, bytes=base_bytes, parameters=trained, peak=peak, seconds=round(seconds))
    loss = round(mean(losses[-20:]), 4) if losses else None
    made |= dict(test_seconds=round(time.time() - start), loss=loss, processor=torch.backends.cpu.get_cpu_capability())
    return made | dict(words=words, errors=wrong)


def study(file, models, folder, corpora, arms, seeds, threads):
    "The base alone, learning rates, then every arm and seed"
    for corpus in corpora:
        about = CORPORA[corpus]
        def run(kind, arm, seed, lr, steps):
            key = dict(corpus=corpus, base=about['base'], kind=kind, arm=arm, seed=seed, lr=lr, steps=steps)
            return run_once(file, key, lambda: apart(one, models, folder, corpus, kind, arm, seed, lr, steps, threads))
        for arm in arms:
            if arm != 'full':
                run('before', arm, 0, 0., 0)
        rates = {}
        for arm in arms:
            factor = FULL_RATE if arm == 'full' else 1.
            tuned = [run('tune', arm, TUNING_SEED, lr * factor, about['steps'] // 2) for lr in RATES]
            rates[arm] = min(tuned, key=lambda r: (r['wer_normalized'], r['lr']))['lr']
        for seed in seeds:
            for arm in arms:
                run('run', arm, seed, rates[arm], about['steps'])


def study_untuned(file, models, folder, corpora, arms, seeds, threads, lr):
    "Every arm and seed in bfloat16 at one rate"
    for corpus in corpora:
        about = CORPORA[corpus]
        for seed in seeds:
            for arm in arms:
                steps = about['steps']
                key = dict(corpus=corpus, base=about['base'], kind='untuned', arm=arm, seed=seed, lr=lr, steps=steps)
                given = models, folder, corpus, 'untuned', arm, seed, lr, steps, threads, torch.bfloat16
                run_once(file, key, lambda: apart(one, *given))


def table(rows):
    "Markdown: each corpus, each arm; those at one rate after those at rates of their own"
    tuned = [r for r in rows if r['kind'] != 'untuned']
    untuned = [dict(r, kind='run') for r in rows if r['kind'] == 'untuned']
    parts = [_corpora(tuned, '')]
    if untuned:
        parts.append(_corpora(untuned, ', bfloat16, one rate for all'))
    return '\n'.join(parts)


def _corpora(rows, how):
    "Both tables of each corpus"
    out = []
    for corpus in dict.fromkeys(r['corpus'] for r in rows):
        mine = [r for r in rows if r['corpus'] == corpus]
        out += [f"{corpus}, {mine[0]['base']}, {CORPORA[corpus]['steps']} steps of {BATCH}{how}", '']
        out += ['| arm | WER before | WER after (seeds) | CER after | points above lora16 (95 %) | lr |', '|---' * 6 + '|']
        out += _lines(mine)
        out += ['', '| arm | trained | base | peak memory | training |', '|---' * 5 + '|']
        out += _costs(mine)
        out += ['']
    return '\n'.join(out)


def _runs(rows, arm):
    return [r for r in rows if r['kind'] == 'run' and r['arm'] == arm]


def _lines(rows):
    "Quality by arm"
    reference = _runs(rows, 'lora16')
    lines = []
    for arm in ARMS:
        runs = _runs(rows, arm)
        if not runs:
            continue
        before = [r['wer_normalized'] for r in rows if r['kind'] == 'before' and r['arm'] == arm]
        difference = '-' if arm == 'lora16' else points(runs, reference)
        if difference and difference != '-':
            difference = f'{difference[0]:+.2f} ({difference[1]:+.2f} to {difference[2]:+.2f})'
        lines.append(
            f"| {arm} | {f'{before[0]:.1%}' if before else '-'} | {mean(r['wer_normalized'] for r in runs):.2%} "
            f"({len(runs)}) | {mean(r['cer_normalized'] for r in runs):.2%} | {difference or '-'} | {runs[0]['lr']:g} |")
    return lines


def _costs(rows):
    "Bytes and seconds by arm"
    lines = []
    for arm in ARMS:
        runs = _runs(rows, arm)
        if runs:
            lines.append(
                f"| {arm} | {runs[0]['parameters']:,} | {runs[0]['bytes'] / 1e6:.1f} MB | "
                f"{mean(r['peak'] for r in runs) / 1e6:.0f} MB | {mean(r['seconds'] for r in runs):.0f} s |")
    return lines


if __name__ == '__main__':
    p = folders_options(__doc__, 'whisper-base and whisper-tiny.en', RESULTS)
    p.add_argument('--corpora', nargs='*', choices=list(CORPORA), default=list(CORPORA))
    p.add_argument('--only', nargs='*', choices=ARMS, default=ARMS, help='arms')
    p.add_argument('--seeds', nargs='*', type=int, default=SEEDS)
    p.add_argument('--untuned', type=float, metavar='LR', help='every arm in bfloat16 at this rate instead')
    a = parsed_folders(p, table)
    if a.untuned:
        study_untuned(a.results, a.models, a.folder, a.corpora, a.only, a.seeds, a.threads, a.untuned)
    else:
        study(a.results, a.models, a.folder, a.corpora, a.only, a.seeds, a.threads)
