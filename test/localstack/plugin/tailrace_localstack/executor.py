"""
A Lambda execution environment as a local process that talks to the Lambda Runtime API.

Every `nodejs` runtime is LAMBDA_PROCESS_BOOTSTRAP on the Node of LAMBDA_PROCESS_NODE. What a container would add is
absent: no file system or user of its own, no share of the processors, memory bounded by the heap alone.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from concurrent.futures import TimeoutError as FutureTimeout

import psutil
from localstack import config
from localstack.services.lambda_.invocation.executor_endpoint import StatusErrorException
from localstack.services.lambda_.invocation.lambda_models import FunctionVersion, InvocationResult
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor
from localstack.utils.run import kill_process_tree

from tailrace_localstack.runtime_api import Outcome, RuntimeApi, Work

NODE = os.environ["LAMBDA_PROCESS_NODE"]
BOOTSTRAP = os.environ["LAMBDA_PROCESS_BOOTSTRAP"]
LOOPBACK = "127.0.0.1"


class ProcessRuntimeExecutor(RuntimeExecutor):
    def __init__(self, id: str, function_version: FunctionVersion) -> None:
        super().__init__(id=id, function_version=function_version)
        self._env: dict[str, str] = {}
        self._api: RuntimeApi | None = None
        self._process: subprocess.Popen | None = None
        self._tmp: str | None = None
        self._stopped = False
        self._lock = threading.RLock()
        self._lines: list[str] = []  # output since the last invocation ended
        self._tail: list[str] = []  # the last output of the environment, for error reports

    # lifecycle

    def start(self, env_vars: dict[str, str]) -> None:
        self._env = {k: str(v) for k, v in env_vars.items() if v is not None}
        self._spawn()

    def _spawn(self) -> None:
        task_root = str(self.function_version.config.code.get_unzipped_code_location())
        runtime = self.function_version.config.runtime or ""
        self._tmp = self._tmp or tempfile.mkdtemp(prefix="lambda-")
        self._api = api = RuntimeApi()
        env = {
            "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
            "HOME": self._tmp,
            "TMPDIR": self._tmp,
            "LANG": "en_US.UTF-8",
            **self._env,
            "LAMBDA_TASK_ROOT": task_root,
            "LAMBDA_RUNTIME_DIR": os.path.dirname(BOOTSTRAP),
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
            "AWS_LAMBDA_RUNTIME_API": f"{LOOPBACK}:{api.port}",
        }
        if not runtime.startswith("nodejs"):
            raise NotImplementedError(f"the process executor does not run {runtime}")
        memory = max(64, int(self.function_version.config.memory_size * 0.9))
        handler = self.function_version.config.handler
        command = [NODE, f"--max-old-space-size={memory}", BOOTSTRAP, handler]
        process = subprocess.Popen(
            command,
            cwd=task_root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._process = process
        threading.Thread(target=self._read_output, args=(process,), daemon=True).start()
        threading.Thread(target=self._watch, args=(process, api), daemon=True).start()
        api.ready.wait()
        if api.init_error is not None:
            self._kill()
            raise StatusErrorException("Environment startup failed", payload=api.init_error)

    def _read_output(self, process: subprocess.Popen) -> None:
        for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            self._lines.append(line)
            self._tail = [*self._tail[-200:], line]

    def _watch(self, process: subprocess.Popen, api: RuntimeApi) -> None:
        code = process.wait()
        what = f"signal: {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        if not api.ready.is_set():
            api.init_error = json.dumps(
                {
                    "errorType": "Runtime.ExitError",
                    "errorMessage": f"Error: Runtime exited with error: {what}",
                }
            ).encode()
            api.ready.set()
        api.fail_running(
            {
                "errorType": "Runtime.ExitError",
                "errorMessage": f"RequestId: {self._env.get('_REQUEST', '')} "
                f"Error: Runtime exited with error: {what}",
            }
        )

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process and process.poll() is None:
            try:
                kill_process_tree(process.pid)
            except psutil.NoSuchProcess:
                pass
            process.wait()
        if self._api:
            self._api.close()

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            self._kill()
            if self._tmp:
                shutil.rmtree(self._tmp, ignore_errors=True)

    # invocation

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        request_id = payload["invoke-id"]
        with self._lock:
            if self._stopped:
                raise RuntimeError("the execution environment is stopped")
            if self._process is None or self._process.poll() is not None:
                self._kill()
                self._spawn()
            api, self._env["_REQUEST"] = self._api, request_id
        timeout = self.function_version.config.timeout
        started = time.time()
        work = Work(
            request_id,
            payload["invoked-function-arn"],
            payload.get("trace-id", ""),
            int((started + timeout) * 1000),
            payload["payload"].encode(),
        )
        api.submit(work)
        try:
            outcome = work.result.result(timeout=timeout)
        except FutureTimeout:
            with self._lock:
                self._kill()
            outcome = Outcome(
                json.dumps(
                    {
                        "errorType": "Sandbox.Timedout",
                        "errorMessage": f"RequestId: {request_id} "
                        f"Error: Task timed out after {timeout:.2f} seconds",
                    }
                ).encode(),
                True,
            )
        limit = int(config.LAMBDA_LIMITS_MAX_FUNCTION_PAYLOAD_SIZE_BYTES)
        if not outcome.is_error and not outcome.streamed and len(outcome.payload) > limit:
            outcome = Outcome(
                json.dumps(
                    {
                        "errorType": "Function.ResponseSizeTooLarge",
                        "errorMessage": "Response payload size exceeded maximum allowed "
                        f"payload size ({limit} bytes).",
                    }
                ).encode(),
                True,
            )
        if outcome.streamed:
            outcome.payload = _buffered_stream(outcome.payload)
        lines, self._lines = self._lines, []
        millis = (time.time() - started) * 1000
        memory = self.function_version.config.memory_size
        logs = "\n".join(
            [
                f"START RequestId: {request_id} Version: {self.function_version.id.qualifier}",
                *lines,
                f"END RequestId: {request_id}",
                f"REPORT RequestId: {request_id}\tDuration: {millis:.2f} ms\t"
                f"Billed Duration: {int(millis) + 1} ms\tMemory Size: {memory} MB\t",
            ]
        )
        return InvocationResult(
            request_id, outcome.payload, is_error=outcome.is_error, logs=logs + "\n"
        )

    # what LocalStack asks about the environment

    def get_address(self) -> str:
        return LOOPBACK

    def get_endpoint_from_executor(self) -> str:
        return LOOPBACK

    def get_runtime_endpoint(self) -> str:
        return f"http://{LOOPBACK}:{config.GATEWAY_LISTEN[0].port}/_localstack_lambda/{self.id}"

    def get_logs(self) -> str:
        return "\n".join(self._tail)

    @classmethod
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        if function_version.config.code:
            function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        pass

    @classmethod
    def validate_environment(cls) -> bool:
        return shutil.which(NODE) is not None


def _buffered_stream(payload: bytes) -> bytes:
    """LocalStack reads a streamed HTTP answer (prelude, 8 NULs, body) as text; keep binary ones whole."""
    try:
        payload.decode()
        return payload
    except UnicodeDecodeError:
        prelude, separator, body = payload.partition(b"\0" * 8)
        answer = json.loads(prelude) if separator else {"statusCode": 200}
        answer["body"] = base64.b64encode(body if separator else payload).decode()
        answer["isBase64Encoded"] = True
        return json.dumps(answer).encode()
