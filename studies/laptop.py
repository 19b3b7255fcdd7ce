"""From recordings to a saved adapter on a laptop's two cores: our command beside transformers, peft and bitsandbytes

    python studies/laptop.py FOLDER_OF_MODELS FOLDER_OF_CORPORA --threads 2         # every arm once in each round
    python studies/laptop.py MODELS CORPORA --corpora fillets_cs --steps 20 --rounds 1
    python studies/laptop.py --table

What is timed is a whole process, from its start to its end, with an adapter in a folder: imports, reading the base
into NF4 with double quantization, reading sound, training. Both train LoRA with r = 16 and alpha = 32 on
every linear layer but the head, on batches of 8, with AdamW, the learning rate falling along a cosine after 10 % of
warm-up. Our command has its default dropout of 0.05 and weight decay of 0.01, theirs has neither.

`own`: `qlora_audio train --window own --dtype float32`, windows as long as the recordings and a second of silence;
`own fast` has `--dtype fast`, bfloat16 on a processor that gains by it, `own int8` also `--compute-dtype int8`.
`full`: `own` with Whisper's 30 seconds.
`theirs`: 30-second windows, as the Whisper examples of transformers and peft have them: log-mel features made once,
in front, `Seq2SeqTrainer`, a `BitsAndBytesConfig`, `peft.get_peft_model`; in float32, and `theirs bfloat16` with
`bnb_4bit_compute_dtype`, `dtype` and `bf16` set to it. Without gradient checkpointing, which
`prepare_model_for_kbit_training` would switch on, and which costs a second forward pass. Their process imports this
package, too, to read the recordings.

Our command hears the test part before and after it trains; for the time it is given one test recording. The test
part is heard afterwards, outside the time, with each adapter in the window that it was trained in, by the same
code. Peak memory is that of the process.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
import torch
import transformers
from paired import apart, folders_options, parsed_folders, run_once
from released import BATCH, CORPORA, split_rows, word_counts
from qlora_audio.models.families import to_wave
from qlora_audio.models.quantize import NF4Config
from qlora_audio.models.released import load_model

RESULTS = Path(__file__).with_suffix('.jsonl')
ARMS = ('own', 'own fast', 'own int8', 'full', 'theirs', 'theirs bfloat16')
RATE = 1e-3


def with_one_test(folder, corpus, file):
    "A manifest of the training part and one test recording"
    lines = [json.loads(line) for line in (Path(folder)/corpus/'manifest.jsonl').read_text().splitlines()]
    test = [row for row in lines if row['split'] == 'test'][:1]
    kept = [row for row in lines if row['split'] == 'train'] + test
    file.write_text(''.join(json.dumps(row) + '\n' for row in kept))
    return f'manifest:{file}?root={folder}/{corpus}'


def our_command(models, folder, corpus, arm, steps, out):
    about = CORPORA[corpus]
    language = [] if about['base'].endswith('.en') else ['--language', about['language']]
    dtypes = dict(own=['float32'], full=['float32'], fast=['fast'], int8=['fast', '--compute-dtype', 'int8'])
    return [
        sys.executable, '-m', 'qlora_audio', 'train', '--base', f"{models}/{about['base']}", '--data',
        with_one_test(folder, corpus, Path(out).parent/'manifest.jsonl'), '--window', arm.split()[0],
        '--dtype', *dtypes[arm.split()[-1]], '--batch-size', str(BATCH), '--steps', str(steps),
        '--lr', str(RATE), '--no-augment', '--dev', '0', '--out', out, *language]


class Padded(torch.utils.data.Dataset):
    "Log-mel features of 30 seconds and labels, made once"
    def __init__(self, rows, processor):
        self.items = []
        for row in rows:
            wave = to_wave(row['audio'], 16_000).numpy()
            features = processor.feature_extractor(wave, sampling_rate=16_000).input_features[0]
            self.items.append(dict(input_features=features, labels=processor.tokenizer(row['text']).input_ids))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate(items, processor):
    features = [dict(input_features=i['input_features']) for i in items]
    batch = processor.feature_extractor.pad(features, return_tensors='pt')
    labels = processor.tokenizer.pad([dict(input_ids=i['labels']) for i in items], return_tensors='pt')
    ids = labels.input_ids.masked_fill(labels.attention_mask.ne(1), -100)
    start = processor.tokenizer.convert_tokens_to_ids('<|startoftranscript|>')
    if (ids[:, 0] == start).all(): # the model puts it in front itself
        ids = ids[:, 1:]
    return dict(batch, labels=ids)


def theirs(models, folder, corpus, dtype, steps, out):
    "What the examples of transformers and peft do"
    import peft
    about = CORPORA[corpus]
    language = None if about['base'].endswith('.en') else about['language']
    base = f"{models}/{about['base']}"
    processor = transformers.WhisperProcessor.from_pretrained(base, language=language, task='transcribe')
    processor.tokenizer.pad_token = processor.tokenizer.pad_token or processor.tokenizer.eos_token
    train, _ = split_rows(folder, corpus, 'run')
    data = Padded(train, processor)
    config = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type='nf4', bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype)
    model = transformers.WhisperForConditionalGeneration.from_pretrained(
        base, quantization_config=config, dtype=dtype)
    names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != 'proj_out']
    model = peft.get_peft_model(model, peft.LoraConfig(r=16, lora_alpha=32, lora_dropout=0., target_modules=names))
    arguments = transformers.Seq2SeqTrainingArguments(
        out, per_device_train_batch_size=BATCH, max_steps=steps, learning_rate=RATE, warmup_steps=max(1, steps // 10),
        lr_scheduler_type='cosine', use_cpu=True, bf16=dtype == torch.bfloat16, save_strategy='no', logging_steps=10,
        report_to=[], remove_unused_columns=False, label_names=['labels'])
    trainer = transformers.Seq2SeqTrainer(
        model=model, args=arguments, train_dataset=data, data_collator=lambda items: collate(items, processor))
    trainer.train()
    model.save_pretrained(out)


def timed(command, threads):
    "Seconds and peak memory of a process"
    names = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')
    start = time.time()
    process = subprocess.Popen(command, env=os.environ | {n: str(threads) for n in names})
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f'{" ".join(command)}: status {status}')
    seconds = round(time.time() - start, 1)
    return dict(seconds=seconds, cpu=round(used.ru_utime + used.ru_stime, 1), peak=used.ru_maxrss * 1024)


def heard(models, folder, corpus, adapter, window):
    "Errors on the test part; in a process of its own"
    transformers.logging.set_verbosity_error()
    about = CORPORA[corpus]
    language = None if about['base'].endswith('.en') else about['language']
    speech = load_model(
        f"{models}/{about['base']}", NF4Config(), language=language, window=window, adapter=adapter, fallback=False,
        dtype=torch.float32)
    _, test = split_rows(folder, corpus, 'run')
    texts = speech.transcribe([r['audio'] for r in test], batch_size=16)
    wrong, words, rates = word_counts(test, texts, about['normalizer'])
    return dict(rates, words=words, errors=wrong)


def one(models, folder, corpus, arm, steps, threads):
    "Time, memory and errors of an arm"
    with tempfile.TemporaryDirectory() as home:
        out = f'{home}/adapter'
        if arm.startswith('theirs'):
            dtype = 'bfloat16' if 'bfloat16' in arm else 'float32'
            command = [sys.executable, __file__, models, folder, '--theirs', corpus, dtype, out]
            command += ['--steps', str(steps), '--threads', str(threads)]
        else:
            command = our_command(models, folder, corpus, arm, steps, out)
        taken = timed(command, threads)
        return taken | apart(heard, models, folder, corpus, out, 'own' if arm.startswith('own') else 'full')


def study(file, models, folder, corpora, arms, steps, rounds, threads):
    "Every arm once in each round"
    for corpus in corpora:
        for i in range(rounds):
            for arm in arms:
                base = CORPORA[corpus]['base']
                key = dict(kind='run', corpus=corpus, base=base, arm=arm, seed=i, steps=steps, cores=threads)
                run_once(file, key, lambda: one(models, folder, corpus, arm, steps, threads))


def table(rows):
    "Markdown: for each corpus the arms with their time, memory and errors"
    out = []
    for key in dict.fromkeys((r['corpus'], r['base'], r['steps']) for r in rows):
        mine = [r for r in rows if (r['corpus'], r['base'], r['steps']) == key]
        corpus, base, steps = key
        out += [f'{corpus}, {base}, {steps} steps of {BATCH}', '']
        out += ['| arm | minutes, all in all | times faster than theirs | peak memory | WER | rounds |', '|---' * 6 + '|']
        out += _lines(mine) + ['']
    return '\n'.join(out)


def _lines(rows):
    theirs_took = [r['seconds'] for r in rows if r['arm'] == 'theirs']
    lines = []
    for arm in ARMS:
        runs = [r for r in rows if r['arm'] == arm]
        if runs:
            took = mean(r['seconds'] for r in runs)
            faster = f'{mean(theirs_took) / took:.1f}' if theirs_took else '-'
            lines.append(
                f"| {arm} | {took / 60:.1f} | {faster} | {mean(r['peak'] for r in runs) / 1e9:.2f} GB | "
                f"{mean(r['wer_normalized'] for r in runs):.1%} | {len(runs)} |")
    return lines


if __name__ == '__main__':
    p = folders_options(__doc__, 'whisper-base and whisper-tiny.en', RESULTS)
    p.add_argument('--corpora', nargs='*', choices=list(CORPORA), default=['speechocean762_child', 'fillets_cs'])
    p.add_argument('--only', nargs='*', choices=ARMS, default=ARMS, help='arms')
    p.add_argument('--steps', type=int, default=100)
    p.add_argument('--rounds', type=int, default=1)
    p.add_argument('--theirs', nargs=3, metavar=('CORPUS', 'DTYPE', 'OUT'), help='only their program, as it is timed')
    a = parsed_folders(p, table)
    if a.theirs:
        theirs(a.models, a.folder, a.theirs[0], getattr(torch, a.theirs[1]), a.steps, a.theirs[2])
    else:
        study(a.results, a.models, a.folder, a.corpora, a.only, a.steps, a.rounds, a.threads)
