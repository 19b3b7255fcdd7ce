"""Fine-tune audio-text models on a 4-bit base: the names that most programs need, imported when they are first asked for"""
__version__ = "0.1.0"

import importlib

_ROOM = { # name → its room, and its name there if it has another
    'UserError': 'errors',
    'LoRAConfig': 'adapters.targets', 'add_lora': 'adapters.targets', 'lora_table': 'adapters.targets',
    'save_adapter': 'adapters.saving', 'load_adapter': 'adapters.saving', 'merge_adapter': 'adapters.merging',
    'load_speech': 'sound.corpora',
    'AudioTextModel': 'models.audio_text', 'SpeechCollator': 'models.audio_text',
    'load_model': 'models.released', 'NF4Config': 'models.quantize', 'quantize_model': 'models.quantize', 'audit': 'models.quantize',
    'transcribe': 'models.transcribe:transcribe_long',
    'evaluate': 'training.loop', 'QLoRAArguments': 'training.trainer', 'QLoRATrainer': 'training.trainer',
    'allocate_ranks': 'strategies.ranks', 'select_frames': 'strategies.frames',
    'plan': 'tools.plan'}
__all__ = sorted(_ROOM)

def __getattr__(name):
    if name not in _ROOM: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    room, _, own_name = _ROOM[name].partition(':')
    value = getattr(importlib.import_module(f'{__name__}.{room}'), own_name or name)
    globals()[name] = value
    return value

def __dir__(): return sorted({*globals(), *__all__})
