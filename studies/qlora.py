"""Does a frozen base in 4 bits cost anything on human digits (FSDD)? Full fine-tuning and LoRA on 16 bits, LoRA on NF4, FP4 and INT4.

    python studies/qlora.py PATH_TO_FSDD                 # all of it: learning rates first, then every arm and seed; goes on where it stopped
    python studies/qlora.py PATH_TO_FSDD --only lora16 nf4 --seeds 0 1
    python studies/qlora.py PATH_TO_FSDD --plan          # measures one step and one test on this machine and says what all of it costs
    python studies/qlora.py PATH_TO_FSDD --smoke         # a few steps of every arm into a temporary file: rows, resuming, determinism, the table
    python studies/qlora.py --table                      # the tables from the runs so far

Question. The QLoRA claim on speech: LoRA on an NF4 base with double quantization within 0.3 points of LoRA on the same base in 16 bits.

Arms. full (every weight but the fixed positions), lora16, and lora on the base in nf4, fp4 (bitsandbytes' levels) and int4 (-7 to 7), all in blocks of 64 with doubly quantized scales.
FP4 and INT4 are no layers of this package: their arms hold, in a frozen layer, the numbers that such a layer would restore. All LoRA arms have r = 16 on every linear layer but the head, so their parameters are equal.

Data. Connected digits of one to five by three speakers (the fourth is left out in fsdd.py; --left-out SPEAKER trains on the others, whoever it is, and tests on that one). Training: recordings 5 and up of each digit and speaker. Test: recordings 0 to 4.

Learning rates. Every arm gets the same effort: each rate of `LRS` (a quarter of it for full) once, half the steps, seed 100, trained on recordings 10 and up, judged on recordings 5 to 9. Test recordings take no part.
A first round tried three rates, without the largest; with it the choices stayed the same. Runs at a rate that is not the best any more would stay in the table, in lines of their own.

Evidence. Every row keeps each utterance's errors. Intervals: 10,000 paired bootstrap draws of utterances and of seeds, the same for both arms.

Compute plan. A run is STEPS steps of 16 utterances and one test of N_TEST utterances; a tuning run half of that. 5 arms, 4 rates, 10 seeds: 20 tuning runs and 50 runs, an hour on one thread. --plan fills in this machine.
Rows state the fingerprint of the base they were run on, and a table is made for each base.
"""
import statistics, tempfile, time
from collections import Counter
from pathlib import Path
import torch
from torch import Tensor
from paired import address, best, development, errors, fingerprint, left_out_table, more_errors, options, parsed, points, read, run_once, said, without
from qlora_audio.models.audio_text import SpeechCollator
from qlora_audio.sound.corpora import load_speech
from qlora_audio.bits.double_quant import dequantize_absmax, quantize_absmax
from qlora_audio.bits.linear import NF4Linear
from qlora_audio.adapters.targets import LoRAConfig, add_lora, count_parameters
from qlora_audio.adapters.lora import base_weight
from qlora_audio.bits.nf4 import NF4_CODE
from qlora_audio.models.quantize import NF4Config, byte_report, layers_to_quantize
from qlora_audio.tools.base import load_base
from qlora_audio.training.loop import TUNE_AUGMENT, finetune

RESULTS = Path(__file__).with_suffix('.jsonl')
STEPS, BATCH, N_TRAIN, N_TEST, SEEDS, LRS, TUNING_SEED = 200, 16, 1500, 300, tuple(range(10)), (1e-3, 2e-3, 4e-3, 8e-3), 100
HEARD = 'george', 'jackson', 'nicolas'
ARMS = 'full', 'lora16', 'nf4', 'fp4', 'int4'
LEVELS = dict(fp4=[s * v for s in (-1, 1) for v in (0., 1 / 192, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1.)], int4=[i / 7 for i in range(-7, 8)]) # of a block whose largest weight is 1


def rounded(
    weight:Tensor, # any shape
    levels:list[float], # of a block whose largest weight is 1
    blocksize:int=64,
) -> Tensor: # the same shape
    "Each weight as the nearest level times its block's scale, the scales doubly quantized; codes are chosen by the exact scale, as NF4's are"
    blocks = torch.nn.functional.pad(weight.detach().float().flatten(), (0, -weight.numel() % blocksize)).view(-1, blocksize)
    absmax, levels = blocks.abs().amax(1), torch.tensor(sorted(levels))
    codes = (blocks / absmax.clamp_min(1e-30)[:, None])[..., None].sub(levels).abs().argmin(-1)
    restored = levels[codes] * dequantize_absmax(quantize_absmax(absmax))[:, None]
    return restored.flatten()[:weight.numel()].view_as(weight).to(weight.dtype)


def adapted(arm):
    "The base of an arm, ready to be trained, and the bytes of its weights but the adapter's"
    model = load_base(quantize=NF4Config() if arm == 'nf4' else None)
    report = byte_report(load_base(quantize=NF4Config()))
    size = report['kept_16bit'] + report['quantized_16bit' if arm in ('full', 'lora16') else 'quantized_4bit']
    if arm in LEVELS:
        for layer in layers_to_quantize(model, NF4Config()).values(): layer.weight.data = rounded(layer.weight, LEVELS[arm])
    if arm == 'full': model.requires_grad_(True); model.encoder.embed_positions.requires_grad_(False)
    else: add_lora(model, LoRAConfig(r=16, lora_alpha=32, lora_dropout=0.))
    return model, size


def one(path, kind, arm, seed, lr, steps, n_train, n_test, left_out=''):
    "Train and test one arm"
    with tempfile.TemporaryDirectory() as view:
        home = development(path, view) if kind == 'tune' else path
        train, test = ([*load_speech(address(home, kind, split, left_out, HEARD), split, n=n, seed=s)] for split, n, s in (('train', n_train, seed), ('test', n_test, 0)))
    torch.manual_seed(seed)
    model, size = adapted(arm)
    before, start = errors(model.eval(), test)[0], time.time()
    finetune(model, train, SpeechCollator(model.processor, model.num_audio_tokens, TUNE_AUGMENT), steps=steps, batch_size=BATCH, lr=lr, seed=seed, desc=f'{kind} {arm} seed {seed} lr {lr:g}')
    seconds, wrong, words = time.time() - start, errors(model.eval(), test)[0], [len(r['text'].split()) for r in test]
    return dict(wer=sum(wrong) / sum(words), before=sum(before) / sum(words), bytes=size, parameters=count_parameters(model)['trainable'], seconds=round(seconds), words=words, errors=wrong)


def study(file, path, arms, seeds, steps, lrs=LRS, n_train=N_TRAIN, n_test=N_TEST, left_out=''):
    "Learning rates first, then every arm and seed"
    base = fingerprint()
    def run(kind, arm, seed, lr, n):
        key = dict(kind=kind, arm=arm, seed=seed, lr=lr, steps=n, base=base, n_train=n_train, n_test=n_test) | without(left_out)
        return run_once(file, key, lambda: one(path, kind, arm, seed, lr, n, n_train, n_test, left_out), lambda r: r.get('left_out', '') == left_out)
    rates = {arm: best(run('tune', arm, TUNING_SEED, lr / 4 if arm == 'full' else lr, max(steps // 2, 1)) for lr in lrs) for arm in arms}
    for seed in seeds:
        for arm in arms: run('run', arm, seed, rates[arm], steps)


def table(rows):
    "Markdown: for each base, WER, parameters and bytes of every arm, and how many % more errors than with LoRA on 16 bits"
    out = []
    for base in dict.fromkeys(r['base'] for r in rows):
        mine = [r for r in rows if r['base'] == base and not r.get('left_out')]
        runs = [r for r in mine if r['kind'] == 'run']
        size = Counter((r['steps'], r['n_train'], r['n_test']) for r in runs).most_common(1)
        runs = [r for r in runs if size and (r['steps'], r['n_train'], r['n_test']) == size[0][0]]
        out += [f'Base {base}' + (f', {size[0][0][0]} steps' if size else ''), '', '| arm | trained | bytes of the base | WER before | WER after | points above lora16 (95 %) | % more errors than lora16 (95 %) | lr | seeds |', '|---' * 9 + '|']
        tuned = [r for r in mine if r['kind'] == 'tune']
        rate = {arm: best(rs) for arm in ARMS if (rs := [r for r in tuned if r['arm'] == arm])}
        of = lambda arm, lr: [r for r in runs if (r['arm'], r['lr']) == (arm, lr)]
        lora16, mean = of('lora16', rate.get('lora16')), lambda rs, key='wer': statistics.mean(r[key] for r in rs)
        for arm, lr in sorted({(r['arm'], r['lr']) for r in runs}, key=lambda k: (k[1] != rate.get(k[0]), ARMS.index(k[0]), k[1])):
            rs, reference = of(arm, lr), (arm, lr) == ('lora16', rate.get('lora16'))
            apart = None if reference else points(rs, lora16)
            out.append(f"| {arm}{'' if lr == rate.get(arm) else ', an earlier rate'} | {mean(rs, 'parameters'):,.0f} | {mean(rs, 'bytes') / 1e6:.2f} MB | {mean(rs, 'before'):.1%} | {mean(rs):.2%} | {f'{apart[0]:+.2f} ({apart[1]:+.2f} to {apart[2]:+.2f})' if apart else '-'} | {said(more_errors(rs, lora16)) if apart else '-'} | {lr:g} | {len(rs)} |")
        if tuned:
            out += ['', 'Tuning, WER on recordings 5 to 9 (lr: WER)', ''] + [f"- {arm}: " + ', '.join(f"{r['lr']:g}: {r['wer']:.1%}" for r in sorted(tuned, key=lambda r: r['lr']) if r['arm'] == arm) for arm in ARMS if any(r['arm'] == arm for r in tuned)]
        out += left_out_table([r for r in rows if r['base'] == base], lambda r: r['arm'], {'lora16': lambda name: 'lora16'})
        out.append('')
    return '\n'.join(out)


def plan(path, arms, seeds, steps):
    "What all of it costs, from a few steps and a small test on this machine"
    times = []
    for n in (2, 12): start = time.time(); one(path, 'run', 'nf4', 0, 1e-3, n, 200, 40); times.append(time.time() - start)
    step = (times[1] - times[0]) / 10
    run = steps * step + (times[0] - 2 * step) * N_TEST / 40
    print(f'a step {step:.2f} s, {torch.get_num_threads()} threads: a run at most {run / 60:.1f} min; {len(arms) * len(LRS)} tuning runs {len(arms) * len(LRS) * run / 7200:.1f} h, {len(arms) * len(seeds)} runs {len(arms) * len(seeds) * run / 3600:.1f} h')


def smoke(path, arms):
    "Every arm, small: rows, resuming, determinism, the table"
    layer = torch.nn.Linear(192, 70)
    restored = base_weight(NF4Linear.from_linear(layer))
    assert torch.allclose(rounded(layer.weight, NF4_CODE.tolist()), restored, atol=1e-7), 'NF4 by this way is not NF4 by the package'
    with tempfile.TemporaryDirectory() as folder:
        file, sizes = Path(folder)/'rows.jsonl', dict(n_train=64, n_test=8, lrs=(1e-3,))
        study(file, path, arms, (0,), 2, **sizes)
        rows = read(file)
        study(file, path, arms, (0,), 2, **sizes)
        assert read(file) == rows, 'a finished run was repeated'
        first = next(r for r in rows if r['kind'] == 'run')
        assert one(path, 'run', first['arm'], 0, first['lr'], 2, 64, 8)['errors'] == first['errors'], 'the same run gave other errors'
        print(table(rows))


if __name__ == '__main__':
    a = parsed(options(__doc__, ARMS, SEEDS, STEPS, RESULTS), table)
    if a.smoke: smoke(a.path, a.only)
    elif a.plan: plan(a.path, a.only, a.seeds, a.steps)
    else: study(a.results, a.path, a.only, a.seeds, a.steps, left_out=a.left_out)
