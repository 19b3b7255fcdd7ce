"""What was claimed, what came out, how sure it is: one line each, from the rows of all studies

    python studies/claims.py
"""
from importlib import import_module
from statistics import mean
from paired import more_errors, points, read

DIGITS = 'digits, small base'


def runs(study, kind='run', **wanted):
    "Rows of a study that have these values, its main setting"
    rows = [r for r in read(import_module(study).RESULTS) if r['kind'] == kind and not r.get('left_out')]
    return [r for r in rows if not r.get('data') and all(r.get(k) == v for k, v in wanted.items())]


def rate(rows):
    "Word errors over words"
    return f"{sum(sum(r['errors']) for r in rows) / sum(sum(r['words']) for r in rows):.1%}"


def between(got, unit):
    "A difference and its interval; of errors, how many more there are"
    middle, low, high, seeds = got
    name = 'WER' if unit == 'points' else 'errors'
    return f"{name} {middle:+.1f} {unit} ({low:+.1f} to {high:+.1f}), {seeds} seed{'s'[:seeds != 1]}"


def verdict(got, most):
    "What a difference and its interval say of the wish that it be at most so much"
    _, low, high, _ = got
    return 'yes' if high <= most else 'no' if low > most else 'not shown'


def four_bits():
    "Released models, then digits"
    lines = []
    released = (
        ('speechocean762_child', 'children, whisper-tiny.en', 'run'),
        ('tuxpaint_be', 'Belarusian, whisper-base', 'run'),
        ('fillets_cs', 'Czech, whisper-base, one rate', 'untuned'))
    for corpus, what, kind in released:
        nf4, lora = (runs('released', kind, corpus=corpus, arm=arm) for arm in ('nf4', 'lora16'))
        if got := nf4 and lora and points(nf4, lora):
            shown = verdict(more_errors(nf4, lora), 3) # %
            lines.append((f'4 bits learn what 16 bits learn: {what}', f'{shown}: NF4 {rate(nf4)}, LoRA {rate(lora)}',
                          between(got, 'points'), 'what-4-bits-cost-a-released-model'))
    nf4, lora = (runs('qlora', arm=arm) for arm in ('nf4', 'lora16'))
    got = points(nf4, lora)
    lines.append((f'the same: {DIGITS}', f'{verdict(got, .3)}: NF4 {rate(nf4)}, LoRA {rate(lora)}',
                  between(got, 'points'), 'studies_digits.ipynb#what-4-bits-cost'))
    return lines


def windows():
    "Whisper's 30 seconds"
    study, rows = import_module('windows'), runs('windows', kind='test')
    full, own = (study.joined(rows, arm) for arm in ('full', 'own 5 s'))
    if not (full and own):
        return []
    def line(claim, said, own):
        result = f"{said} % fewer; WER {rate([own])}, {rate([full])} in full"
        return claim, result, between(more_errors([own], [full]), '%'), 'whispers-30-seconds'
    claim = "70 % of a released Whisper's frames can go for at most 1 % more errors, untrained"
    lines = [line(claim, f"no: 5 s of silence, {100 - own['frames']:.0f}", own)]
    for arm in study.AGAIN:
        if again := study.joined(rows, arm):
            lines.append(line('the same, where a text that repeats itself is written again from the full window',
                              f"{arm.split()[1]} s of silence, {100 - again['frames']:.0f}", again))
    return lines


def half_of_frames():
    "An own window with half of its frames, in training and in the test; errors are capped"
    arms = {arm: runs('frames_released', arm=arm) for arm in import_module('frames_released').RULES}
    def errors(arm): return mean(sum(r['errors']) for r in arms[arm])
    best = min((arm for arm in arms if arm != 'all' and arms[arm]), key=errors, default=None)
    if best is None or not arms['all']:
        return []
    got = more_errors(arms[best], arms['all'])
    claim = 'half of the frames of an own window can go for at most 1 % more errors, trained: children, whisper-tiny.en'
    result = f'{verdict(got, 1)}: `{best}`, the best of three rules'
    return [(claim, result, between(got, '%'), 'half-of-the-frames-trained')]


def laptop():
    "From recordings to an adapter, an epoch of Czech"
    arms = 'own int8', 'theirs', 'theirs bfloat16'
    ours, theirs, halves = (runs('laptop', corpus='fillets_cs', steps=95, arm=arm) for arm in arms)
    if not (ours and theirs and halves):
        return []
    def ratios(than): return [mean(r['seconds'] for r in than) / r['seconds'] for r in ours]
    def listed(found): return ' and '.join(f'{ratio:.1f}' for ratio in found)
    result = f'{listed(ratios(theirs))} times in their float32, {listed(ratios(halves))} in bfloat16'
    result += '; one run of theirs, in 30-second windows'
    claim = 'an adapter 20 times as fast as with transformers, peft and bitsandbytes: whisper-base, Czech, two cores'
    return [(claim, result, between(points(ours, theirs), 'points'), 'from-recordings-to-an-adapter-on-two-cores')]


def together():
    "Half of the frames and integers, against plain QLoRA; errors are capped"
    study = import_module('together_released')
    plain, longer, same = (runs('together_released', arm=arm) for arm in ('plain', 'together', 'together, same steps'))
    if not (plain and longer and same):
        return []
    speed = study.faster(runs('together_released', kind='cost')[0])['together'][0]
    got = more_errors(longer, plain)
    where = 'what-won-alone-together'
    claim = 'half of the frames and integers, with the steps that they leave time for, make fewer errors'
    lines = [(f'{claim}: children, whisper-tiny.en', verdict(got, 0), between(got, '%'), where)]
    got = more_errors(same, plain)
    result = f'{verdict(got, 1)}: a step is {speed:.2f} times as fast'
    return [*lines, ('the same in as many steps costs at most 1 % more errors', result, between(got, '%'), where)]


def from_parts():
    "The speech LLM"
    aligned, fresh = (runs('parts', arm=arm, bits=4) for arm in ('aligned', 'fresh'))
    if not (aligned and fresh):
        return []
    last = [f"{mean(mean(r['losses'][-20:]) for r in rs):.2f}" for rs in (aligned, fresh)]
    result = f'WER {rate(aligned)}, {rate(fresh)} without; loss {last[0]}, {last[1]}'
    return [('a fusion module that is aligned first makes a speech LLM in fewer steps', result,
             between(more_errors(aligned, fresh), '%'), 'a-speech-llm-from-parts')]


def gates():
    "Adapters that follow the sound, on a released model"
    study = import_module('temporal_released')
    rows = study.whole_seeds(read(study.RESULTS))
    def of(arm): return study.of_test([r for r in rows if r['kind'] == 'run' and r['arm'] == arm], 'joined')
    rank, lora = of('rank'), of('lora')
    if not (rank and lora):
        return []
    result = f'not shown: `rank` {rate(rank)}, LoRA {rate(lora)}'
    return [('gates that hear beat LoRA by 10 % where a recording changes its domain', result,
             between(more_errors(rank, lora), '%'), 'gates-where-the-domain-changes')]


def ranks():
    "Ranks that are shared out, on a released model; errors are capped"
    gradient, uniform = (runs('ranks_released', arm=arm) for arm in ('gradient', 'uniform'))
    if not (gradient and uniform):
        return []
    got = more_errors(gradient, uniform)
    said = 'no' if got[1] > -10 else 'yes' if got[2] < -10 else 'not shown'
    return [('ranks by the gradient make 10 % fewer errors than the same rank everywhere: children, whisper-tiny.en',
             f'{said}: both at rank 1', between(got, '%'), 'ranks-on-a-released-model')]


def strategies():
    "Frames, ranks, gates, all together: on digits"
    temporal = import_module('temporal')
    together = import_module('together')
    uneven = tuple(temporal.UNEVEN)
    def summed(study, arm): return study.summed(runs(study.__name__, arm=arm, steps=study.STEPS), uneven)
    half = dict(kind='free', place='fusion', keep=.5)
    everything = runs('frames', kind='trained', rule='all')
    lines = [
        ('half of the frames cost at most 1 % more errors, untrained', 'no: `pool+kept`, the best rule',
         more_errors(runs('frames', rule='pool+kept', **half), everything), 'which-frames-can-be-left-out'),
        ('frames that 4 bits hear badly are worth keeping', 'yes: `pool+kept` against `pool`',
         more_errors(runs('frames', rule='pool+kept', **half), runs('frames', rule='pool', **half)),
         'which-frames-can-be-left-out'),
        ("ranks by the gradient beat the same rank everywhere", 'not shown: both at rank 2',
         more_errors(runs('ranks', arm='gradient', budget=2), runs('ranks', arm='uniform', budget=2)),
         'ranks-across-modalities'),
        ('gates that hear beat LoRA on uneven speech by 10 %', 'no: `route`, the best of them',
         more_errors(summed(temporal, 'route'), summed(temporal, 'lora')), 'adapters-that-follow-the-sound'),
        ('all three together beat LoRA', 'no', more_errors(summed(together, 'together'), summed(together, 'plain')),
         'the-three-together')]
    return [(f'{claim}: {DIGITS}', result, between(got, '%'), f'studies_digits.ipynb#{where}')
            for claim, result, got, where in lines]


def table():
    "Markdown"
    out = ['| claim | result | 95 % | where |', '|---|---|---|---|']
    released = [*laptop(), *four_bits(), *windows(), *half_of_frames(), *together(), *from_parts(), *ranks(), *gates()]
    for claim, result, interval, where in released + strategies():
        link = where if '#' in where else f'#{where}'
        out.append(f'| {claim} | {result} | {interval} | [runs]({link}) |')
    return '\n'.join(out)


if __name__ == '__main__':
    print(table())
