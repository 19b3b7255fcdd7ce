"""`python -m qlora_audio`, and the entry point of the command: Ctrl-C is quiet from here on, the imports included"""
import importlib, os, signal, sys

def _stop(*_):
    "No traceback, whatever is being imported; and nothing of Python's that could fail"
    os.write(2, b'qlora_audio: stopped\n')
    os._exit(130)

def main() -> int: # the exit status
    "Import the command line once a signal can come"
    signal.signal(signal.SIGINT, _stop)
    return importlib.import_module('qlora_audio.tools.cli').main()

if __name__ == '__main__':
    sys.exit(main())
