from localstack.runtime.server.twisted import TwistedRuntimeServer
from twisted.internet import endpoints


class LoopbackServer(TwistedRuntimeServer):
    """LocalStack's twisted server ignores the host of an IPv4 GATEWAY_LISTEN entry, and listens on every interface."""

    def register(self, gateway, listen, ssl_creds=None):
        original = endpoints.TCP4ServerEndpoint
        for host_and_port in listen:

            def bound(reactor, port, host=host_and_port.host):
                return original(reactor, port, interface=host)

            endpoints.TCP4ServerEndpoint = bound
            try:
                super().register(gateway, [host_and_port], ssl_creds)
            finally:
                endpoints.TCP4ServerEndpoint = original
