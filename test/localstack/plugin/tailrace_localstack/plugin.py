"""What LocalStack finds in entry_points.txt. The imports are late: it loads this file before its own are ready."""

from localstack.runtime.server.core import RuntimeServerPlugin
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin


class ProcessRuntimeExecutorPlugin(RuntimeExecutorPlugin):
    """Selected with LAMBDA_RUNTIME_EXECUTOR=process."""

    name = "process"

    def load(self, *args, **kwargs):
        from tailrace_localstack.executor import ProcessRuntimeExecutor

        return ProcessRuntimeExecutor


class LoopbackServerPlugin(RuntimeServerPlugin):
    """Selected with GATEWAY_SERVER=twisted-loopback."""

    name = "twisted-loopback"

    def load(self, *args, **kwargs):
        from tailrace_localstack.process_group import stay_in_process_group
        from tailrace_localstack.server import LoopbackServer

        stay_in_process_group()
        return LoopbackServer()
