"""NF4 weights; this file is written by hand and says what is loaded at the first use of one on each kind of device"""
import importlib
import warnings
from qlora_audio.bits.nf4 import backend_loader


def _load_cpu():
    for module in ('kernels', 'int8'): importlib.import_module(f'qlora_audio.bits.{module}')


def _load_cuda():
    for module, consequence in (
        ('kernels_cuda', 'NF4 runs without Triton kernels on the GPU, several times slower'),
        ('matmul_cuda', 'NF4 weights are dequantized before every product on the GPU'),
    ):
        try: importlib.import_module(f'qlora_audio.bits.{module}')
        except ImportError as e: warnings.warn(f'{consequence}: {e}', stacklevel=3)


backend_loader('cpu', _load_cpu)
backend_loader('cuda', _load_cuda)
