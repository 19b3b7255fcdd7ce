"""A speech LLM from two models that have never met: does aligning the fusion module first spare steps?

    python studies/parts.py FOLDER_OF_MODELS FOLDER_OF_CORPORA           # every arm and seed; goes on where it stopped
    python studies/parts.py MODELS CORPORA --only fresh aligned --seeds 0 --bits 4
    python studies/parts.py --table

Ground. whisper-base hears, SmolLM2-135M (restored from a file in 4 bits) writes, between them a projector that makes one
token of eight frames (six a second). It learns from the training part of speechocean762_child and all of asterisk_en,
732 recordings of 32 minutes in all, lower case without punctuation, and is tested on 144 recordings of children who are
not in the training part.

Arms. `fresh`: projector and LoRA of rank 16 in the decoder learn by the loss of the text, from the start. `aligned`:
the projector is aligned first (`align_fusion`), then the same. `projector`: aligned first, then the projector alone by
the loss of the text. `encoder too`: `aligned` with LoRA of rank 16 in the encoder as well. `tokens`: what the audio
tokens spell after the alignment, without a decoder.

Evidence. A row keeps the loss of every step, word errors of each utterance, and seconds of both parts. A run is a
process of its own. The settings were fixed after trials with other code on the same recordings, not tuned for an arm.
"""
import resource
import time
from pathlib import Path
from statistics import mean
import torch
import transformers
from paired import apart, folders_options, parsed_folders, read, run_once
from released import word_counts
from qlora_audio.adapters.targets import LoRAConfig, add_lora
from qlora_audio.models.audio_text import AudioTextModel, SpeechCollator
from qlora_audio.models.quantize import NF4Config
from qlora_audio.sound.corpora import load_speech
from qlora_audio.sound.metrics import NORMALIZERS
from qlora_audio.training.align import align_fusion, transcribe_without_decoder
from qlora_audio.training.loop import finetune

RESULTS = Path(__file__).with_suffix('.jsonl')
ARMS = ('aligned', 'fresh', 'projector', 'encoder too')
ALIGNING = dict(steps=600, batch_size=16, lr=2e-3)
STEPS, BATCH, LR = 100, 8, 1e-3
PROMPT = dict(before='Speech: ', after='\nText:')


def plain(row):
    "The row with its words alone"
    return row | dict(text=NORMALIZERS['basic'](row['text']))


def rows_of(folder):
    "Training and test rows"
    def part(corpus, split):
        spec = f'manifest:{folder}/{corpus}/manifest.jsonl'
        return [plain(row) for row in load_speech(spec, split, text='orthographic')]
    train = part('speechocean762_child', 'train') + part('asterisk_en', 'train') + part('asterisk_en', 'test')
    return train, part('speechocean762_child', 'test')


def make_model(models, bits, seed, arm):
    "Encoder and decoder with a projector that knows nothing, and what is trained"
    torch.manual_seed(seed)
    quantize = NF4Config(skip_modules=['fusion']) if bits == 4 else None
    model = AudioTextModel.from_parts(
        f'{models}/whisper-base', f'{models}/smollm2-135m', 'projector', quantize=quantize, window='own',
        fusion_options=dict(k=8, hidden_dim=1024), dtype=torch.float32)
    model.processor.before = PROMPT['before']
    model.processor.after = PROMPT['after']
    if arm == 'projector':
        model.requires_grad_(False)
        model.fusion.requires_grad_(True)
        return model
    ranks = dict(decoder=16, encoder=16) if arm == 'encoder too' else dict(decoder=16)
    return add_lora(model, LoRAConfig(
        r=16, lora_alpha=32, lora_dropout=0., target_modules=ranks, modules_to_save=['fusion']))


def one(models, folder, arm, bits, seed, steps, threads):
    "Train and test one arm; in a process of its own"
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(threads)
    train, test = rows_of(folder)
    model = make_model(models, bits, seed, arm)
    collator = SpeechCollator(model.processor, model.num_audio_tokens)
    made = {}
    if arm != 'fresh':
        start = time.time()
        alignment = align_fusion(model, train, collator, seed=seed, **ALIGNING)
        made |= dict(align_seconds=round(time.time() - start), align_losses=[round(l, 3) for l in alignment.losses])
        spelled = transcribe_without_decoder(model, alignment, test, collator)
        made |= {f'tokens_{k}': v for k, v in word_counts(test, spelled, 'english')[2].items()}
        print(made['align_seconds'], 's of alignment; audio tokens alone:', made['tokens_wer_normalized'], flush=True)
    start = time.time()
    losses = finetune(model, train, collator, steps, BATCH, lr=LR, seed=seed, desc=f'{arm} {bits} bits seed {seed}')
    made |= dict(seconds=round(time.time() - start), losses=[round(l, 3) for l in losses])
    start = time.time()
    order = sorted(range(len(test)), key=lambda i: test[i]['duration'])
    texts = model.transcribe([test[i]['audio'] for i in order], batch_size=16, max_new_tokens=32)
    test = [test[i] for i in order]
    wrong, words, rates = word_counts(test, texts, 'english')
    made |= rates | dict(test_seconds=round(time.time() - start), examples=list(zip([r['text'] for r in test], texts))[::24])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return made | dict(peak=peak, processor=torch.backends.cpu.get_cpu_capability(), words=words, errors=wrong)


def study(file, models, folder, arms, bits, seeds, steps, threads):
    "Every arm and seed"
    for seed in seeds:
        for arm in arms:
            key = dict(kind='run', arm=arm, bits=bits, seed=seed, steps=steps)
            run_once(file, key, lambda: apart(one, models, folder, arm, bits, seed, steps, threads))


def table(rows):
    "Markdown"
    out = ['| arm | loss, steps 31 to 60 | loss, last 20 | WER | CER | minutes |', '|---' * 6 + '|']
    for key in dict.fromkeys((r['arm'], r['bits'], r['steps']) for r in rows):
        runs = [r for r in rows if (r['arm'], r['bits'], r['steps']) == key]
        def over(f): return mean(map(f, runs))
        minutes = over(lambda r: (r['seconds'] + r.get('align_seconds', 0)) / 60)
        out.append(
            f"| {key[0]}, {key[1]} bits, {key[2]} steps ({len(runs)}) | {over(lambda r: mean(r['losses'][30:60])):.2f} | "
            f"{over(lambda r: mean(r['losses'][-20:])):.2f} | {over(lambda r: r['wer_normalized']):.1%} | "
            f"{over(lambda r: r['cer_normalized']):.1%} | {minutes:.0f} |")
    aligned = [r for r in rows if 'tokens_wer' in r]
    if aligned:
        out.append(
            f"| audio tokens alone ({len(aligned)}) | - | - | {mean(r['tokens_wer_normalized'] for r in aligned):.1%} | "
            f"{mean(r['tokens_cer_normalized'] for r in aligned):.1%} | "
            f"{mean(r['align_seconds'] for r in aligned) / 60:.0f} |")
    return '\n'.join(out)


if __name__ == '__main__':
    p = folders_options(__doc__, 'whisper-base and smollm2-135m', RESULTS)
    p.add_argument('--only', nargs='*', choices=ARMS, default=ARMS, help='arms')
    p.add_argument('--bits', type=int, choices=(4, 16), default=4)
    p.add_argument('--seeds', nargs='*', type=int, default=[0])
    p.add_argument('--steps', type=int, default=STEPS)
    a = parsed_folders(p, table)
    study(a.results, a.models, a.folder, a.only, a.bits, a.seeds, a.steps, a.threads)
