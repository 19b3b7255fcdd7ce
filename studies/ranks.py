"""Do ranks shared out over layers and modalities beat the same rank everywhere, at the same number of parameters, on human digits (FSDD)?

    python studies/ranks.py PATH_TO_FSDD                 # all of it: learning rates first, then every arm, budget and seed; goes on where it stopped
    python studies/ranks.py PATH_TO_FSDD --only uniform gradient --budgets 8 --seeds 0 1
    python studies/ranks.py PATH_TO_FSDD --only gradient activations quantization hand eva --budgets 0.6 0.3   # less than a rank for each layer
    python studies/ranks.py PATH_TO_FSDD --plan          # measures one step and one test on this machine and says what all of it costs
    python studies/ranks.py PATH_TO_FSDD --smoke         # a few steps of every arm into a temporary file: rows, resuming, determinism, the table
    python studies/ranks.py --table                      # the tables from the runs so far

Question. `allocate_ranks` wants at least the WER of uniform LoRA and of EVA at three budgets, and uniform's WER with at most 60 % of its parameters (60 % of r = 8 are rank 4.8). When those budgets turned out to be enough for anything, smaller ones were added: rank 1, and 0.6 and 0.3, which only an allocation can spend.

Arms. uniform, rslora (rank r in every layer); gradient, activations, quantization (`allocate_ranks`; activations is EVA's rule per parameter); hand (half of the budget to the encoder, a quarter each to fusion and
decoder); eva (ranks by explained variance, largest first until the budget is spent; A from the principal directions, by peft); adalora (peft's: starts at 1.5 r, pruned to a mean of r while it trains). All on the NF4 base; peft's two, which do not know
this package's layers, on a copy with the same numbers written out in 32 bits. adalora counts ranks, not parameters, and whole ones: the parameters that it ends with are in the table.

Data. Connected digits of one to five. Training: recordings 5 and up of each digit and speaker. Test: recordings 0 to 4. Calibration: 4 batches of 8 training utterances, without augmentation;
its seconds are in every row beside those of training.
--left-out SPEAKER trains on the other speakers and tests on that one.

Learning rates. Every arm gets the same effort: each rate of `LRS` once (rslora, whose scaling is about four times as large, each of them divided by four), and one beyond as long as the best is at the edge, at the middle budget, half the steps, seed 100,
trained on recordings 10 and up, judged on recordings 5 to 9; the best serves all budgets. Test recordings take no part.

Evidence. Every row keeps each utterance's errors. Intervals: 10,000 paired bootstrap draws of utterances and of seeds, the same for both arms.

Compute plan. A run is STEPS steps of 8 utterances and one test of N_TEST utterances; a tuning run half of that. 8 arms, 4 budgets, 4 rates, 5 seeds: 32 tuning runs and 160 runs, two hours on one thread.
--plan measures this machine.
Rows state the fingerprint of the base they were run on, and a table is made for each base.
"""
import contextlib, dataclasses, io, statistics, tempfile, time
from collections import Counter
from pathlib import Path
import torch
from torch import nn
from paired import address, best, development, errors, fingerprint, left_out_table, more_errors, options, parsed, read, run_once, said
from qlora_audio.models.audio_text import SpeechCollator
from qlora_audio.sound.corpora import load_speech
from qlora_audio.bits.linear import NF4Linear
from qlora_audio.adapters.targets import LoRAConfig, add_lora, linear_layers
from qlora_audio.adapters.lora import base_weight
from qlora_audio.models.quantize import NF4Config, replace_module
from qlora_audio.strategies.ranks import allocate_ranks
from qlora_audio.tools.base import load_base
from qlora_audio.training.loop import TUNE_AUGMENT, finetune

RESULTS = Path(__file__).with_suffix('.jsonl')
STEPS, BATCH, CALIBRATION, N_TRAIN, N_TEST, SEEDS, BUDGETS, LRS, TUNING_SEED, TUNING_BUDGET = 150, 8, 4, 1500, 300, (0, 1, 2, 3, 4), (1., 2., 4.8, 8.), (1e-3, 2e-3, 4e-3, 8e-3), 100, 4.8
ARMS = 'uniform', 'rslora', 'gradient', 'activations', 'quantization', 'hand', 'eva', 'adalora'
SHARED = 'gradient', 'activations', 'quantization', 'hand'
HAND = dict(encoder=.5, fusion=.25, decoder=.25)


def written_out(model):
    "The same model with every 4-bit weight as the 32-bit numbers that it stands for"
    for name, layer in [(n, m) for n, m in model.named_modules() if isinstance(m, NF4Linear)]:
        new = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
        new.weight = nn.Parameter(base_weight(layer).clone(), requires_grad=False)
        if layer.bias is not None: new.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=False)
        replace_module(model, name, new.train(layer.training))
    return model


def with_eva(model, chosen, batches):
    "peft's EVA with ranks by its rule: A from the principal directions of each layer's inputs"
    import peft
    written_out(model)
    config = peft.LoraConfig(**chosen.fields(), init_lora_weights='eva', eva_config=peft.EvaConfig(rho=1.))
    wrapped = peft.get_peft_model(model, config)
    with contextlib.redirect_stdout(io.StringIO()):
        peft.initialize_lora_eva_weights(wrapped, batches, forward_fn=lambda m, b: m(**b), prepare_model_inputs_fn=None, prepare_layer_inputs_fn=None, show_progress_bar=False)
    return wrapped


def with_adalora(model, r, steps):
    "peft's AdaLoRA, and what is to be called after each step"
    import peft
    written_out(model)
    config = peft.AdaLoraConfig(init_r=max(round(1.5 * r), 2), target_r=max(round(r), 1), lora_alpha=2 * max(round(r), 1), target_modules=list(linear_layers(model)), total_step=steps,
                                tinit=steps // 10, tfinal=steps // 3, deltaT=max(steps // 60, 1))
    wrapped, grads = peft.get_peft_model(model, config), {}
    for p in wrapped.parameters():
        if p.requires_grad: p.register_post_accumulate_grad_hook(lambda p: grads.__setitem__(p, p.grad))
    def after(step, loss): # it looks at gradients, which the loop has thrown away by then
        for p, g in grads.items(): p.grad = g
        wrapped.base_model.update_and_allocate(step)
        for p in grads: p.grad = None
    return wrapped, after


def adapted(arm, budget, seed, train, steps):
    "→ the model to train, what to call after each step, the audio-text model in it, ranks, seconds of calibration"
    model, start, after, ranks = load_base(quantize=NF4Config()), time.time(), None, {}
    collate = SpeechCollator(model.processor, model.num_audio_tokens)
    batches = [collate(train[i * BATCH:(i + 1) * BATCH]) for i in range(CALIBRATION)]
    torch.manual_seed(seed)
    if arm == 'adalora': trained, after = with_adalora(model, budget, steps)
    else:
        by = dict(rslora='uniform', hand='uniform', eva='activations').get(arm, arm)
        chosen = allocate_ranks(model, batches, budget, by=by, per='rank' if arm == 'eva' else 'parameter', shares=HAND if arm == 'hand' else None, original=load_base() if by == 'quantization' else None)
        config, ranks = chosen.config(LoRAConfig(lora_dropout=0.)), chosen.ranks
        if arm == 'rslora': config = dataclasses.replace(config, use_rslora=True, alpha_pattern={}, lora_alpha=16)
        trained = with_eva(model, chosen, batches) if arm == 'eva' else add_lora(model, config)
    return trained, after, model, ranks, time.time() - start


def parameters(model, arm):
    "Trained numbers that are in use: AdaLoRA masks what it has pruned"
    if arm != 'adalora': return sum(p.numel() for p in model.parameters() if p.requires_grad)
    shapes = {n: (m.in_features, m.out_features) for n, m in model.named_modules() if hasattr(m, 'lora_E')}
    return sum(int((m.lora_E['default'] != 0).sum()) * (sum(shapes[n]) + 1) for n, m in model.named_modules() if n in shapes)


def one(path, kind, arm, budget, seed, lr, steps, left_out, n_train, n_test):
    "One run as a row"
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        home = development(path, folder) if kind == 'tune' else path
        train, test = ([*load_speech(address(home, kind, split, left_out), split, n=n, seed=s)] for split, n, s in (('train', n_train, seed), ('test', n_test, 0)))
    base = load_base(quantize=NF4Config())
    trained, after, model, ranks, calibration = (base, None, base, {}, 0.) if kind == 'base' else adapted(arm, budget, seed, train, steps)
    begun = time.time()
    if kind != 'base': finetune(trained, train, SpeechCollator(model.processor, model.num_audio_tokens, TUNE_AUGMENT), steps=steps, batch_size=BATCH, lr=lr, seed=seed, on_step=after, desc=f'{kind} {arm} {budget:g} seed {seed} lr {lr:g}')
    training, words = time.time() - begun, [len(r['text'].split()) for r in test]
    wrong, _ = errors(model.eval(), test)
    return dict(wer=sum(wrong) / sum(words), parameters=parameters(trained, arm) if kind != 'base' else 0, calibration_seconds=round(calibration, 1), training_seconds=round(training), seconds=round(time.time() - start),
                words=words, errors=wrong, ranks=ranks)


def study(file, path, arms, budgets, seeds, steps, left_out='', lrs=LRS, n_train=N_TRAIN, n_test=N_TEST):
    "Learning rates, then every arm seed by seed"
    base, chosen = fingerprint(), {}
    run = lambda kind, arm, budget, seed, lr, n: run_once(file, dict(kind=kind, arm=arm, budget=budget, seed=seed, lr=lr, steps=n, left_out=left_out, base=base, n_train=n_train, n_test=n_test),
                                                          lambda: one(path, kind, arm, budget, seed, lr, n, left_out, n_train, n_test))
    run('base', 'base', 0., 0, 0., 0)
    for arm in arms:
        tune = lambda lr: run('tune', arm, TUNING_BUDGET, TUNING_SEED, lr, max(steps // 2, 1))
        tried = [tune(lr / 4 if arm == 'rslora' else lr) for lr in lrs]
        while len(lrs) > 1 and (lr := best(tried)) in (edges := (min(r['lr'] for r in tried), max(r['lr'] for r in tried))): tried.append(tune(lr / 2 if lr == edges[0] else 2 * lr))
        chosen[arm] = best(tried)
    for seed in seeds:
        for budget in budgets:
            for arm in arms: run('run', arm, budget, seed, chosen[arm], steps)


def table(rows):
    "Markdown: for each base, WER of every arm at every budget, and how many % more errors than uniform and than EVA; then speakers left out"
    out = []
    for base in dict.fromkeys(r['base'] for r in rows):
        mine = [r for r in rows if (r['base'], r['left_out']) == (base, '')]
        runs = [r for r in mine if r['kind'] == 'run']
        size = Counter((r['steps'], r['n_train'], r['n_test']) for r in runs).most_common(1)
        runs = [r for r in runs if size and (r['steps'], r['n_train'], r['n_test']) == size[0][0]]
        out += [f'Base {base}' + (f', {size[0][0][0]} steps' if size else ''), '', '| budget, rank | arm | parameters | WER | % more errors than uniform (95 %) | than eva (95 %) | lr | seeds |', '|---' * 8 + '|']
        out += [f"| - | none | - | {r['wer']:.1%} | - | - | - | - |" for r in mine if r['kind'] == 'base']
        tuned = [r for r in mine if r['kind'] == 'tune']
        rate = {arm: best(rs) for arm in ARMS if (rs := [r for r in tuned if r['arm'] == arm])}
        for budget, arm, lr in sorted({(r['budget'], r['arm'], r['lr']) for r in runs if r['lr'] != rate.get(r['arm'])}):
            of = [r for r in runs if (r['budget'], r['arm'], r['lr']) == (budget, arm, lr)]
            out.append(f"| {budget:g} | {arm}, an earlier rate | {statistics.mean(r['parameters'] for r in of):,.0f} | {statistics.mean(r['wer'] for r in of):.2%} | - | - | {lr:g} | {len(of)} |")
        runs = [r for r in runs if r['lr'] == rate.get(r['arm'])]
        for budget in sorted({r['budget'] for r in runs}):
            at = lambda arm: [r for r in runs if (r['budget'], r['arm']) == (budget, arm)]
            for arm in ARMS:
                if not (of := at(arm)): continue
                against = [said(more_errors(of, at(other))) if arm != other and at(other) else '-' for other in ('uniform', 'eva')]
                out.append(f"| {budget:g} | {arm} | {statistics.mean(r['parameters'] for r in of):,.0f} | {statistics.mean(r['wer'] for r in of):.2%} | {' | '.join(against)} | {of[0]['lr']:g} | {len(of)} |")
        pairs = [(arm, small, large, said(got)) for small, large in ((.6, 1.), (1., 2.), (4.8, 8.)) for arm in SHARED
                 if (got := more_errors([r for r in runs if (r['budget'], r['arm']) == (small, arm)], [r for r in runs if (r['budget'], r['arm']) == (large, 'uniform')]))]
        if pairs: out += ['', 'With half or 60 % of the parameters of uniform', '', '| arm, budget | uniform | % more errors than uniform (95 %) |', '|---|---|---|', *(f'| {arm} {small:g} | {large:g} | {got} |' for arm, small, large, got in pairs)]
        if tuned:
            lrs = sorted({r['lr'] for r in tuned})
            out += ['', 'Tuning, WER on recordings 5 to 9', '', f'| budget, rank | arm | {" | ".join(f"{lr:g}" for lr in lrs)} |', '|---' * (len(lrs) + 2) + '|']
            for budget, arm in sorted({(r['budget'], r['arm']) for r in tuned}, key=lambda k: (k[0], ARMS.index(k[1]))):
                cells = [next((f"{r['wer']:.1%}" for r in tuned if (r['budget'], r['arm'], r['lr']) == (budget, arm, lr)), '-') for lr in lrs]
                out.append(f'| {budget:g} | {arm} | {" | ".join(cells)} |')
        out += left_out_table([r for r in rows if r['base'] == base], lambda r: f"{r['arm']} {r['budget']:g}" if r['arm'] != 'base' else 'none', {other: lambda name, other=other: f'{other} {name.split()[-1]}' for other in ('uniform', 'eva')})
        out.append('')
    return '\n'.join(out)


def plan(path, arms, budgets, seeds, steps):
    "What all of it costs, from a few steps and a small test on this machine"
    short, longer = (one(path, 'run', 'uniform', 8., 0, 1e-3, n, '', 200, 40) for n in (2, 12))
    step, heard = (longer['training_seconds'] - short['training_seconds']) / 10, (longer['seconds'] - longer['training_seconds']) / 40
    run, n_tuning, n_runs = steps * step + N_TEST * heard, len(arms) * len(LRS), len(arms) * len(budgets) * len(seeds)
    print(f'a step {step:.2f} s, {torch.get_num_threads()} threads: a run at most {run / 60:.1f} min; {n_tuning} tuning runs {n_tuning * run / 7200:.1f} h, {n_runs} runs {n_runs * run / 3600:.1f} h')


def smoke(path, arms):
    "Every arm, small: rows, resuming, determinism, the table"
    sizes = dict(n_train=128, n_test=8, lrs=(1e-3,))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder)/'rows.jsonl'
        study(file, path, arms, (2.,), (0,), 4, **sizes)
        rows = read(file)
        study(file, path, arms, (2.,), (0,), 4, **sizes)
        assert read(file) == rows, 'a finished run was repeated'
        first = next(r for r in rows if r['kind'] == 'run')
        again = one(path, 'run', first['arm'], 2., 0, first['lr'], 4, '', 128, 8)
        assert (again['errors'], again['ranks']) == (first['errors'], first['ranks']), 'the same run gave other errors'
        print(table(rows))


if __name__ == '__main__':
    p = options(__doc__, ARMS, SEEDS, STEPS, RESULTS)
    p.add_argument('--budgets', nargs='*', type=float, default=BUDGETS, help='ranks that uniform LoRA would have')
    a = parsed(p, table)
    if a.smoke: smoke(a.path, a.only)
    elif a.plan: plan(a.path, a.only, a.budgets, a.seeds, a.steps)
    else: study(a.results, a.path, a.only, a.budgets, a.seeds, a.steps, a.left_out)
