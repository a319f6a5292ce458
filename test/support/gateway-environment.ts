import { GATEWAY_DEFAULTS, type GatewayEnvironment } from '../../shared/aws/gateway-environment.ts';

/** A gateway that only this machine reaches, on any free ports. */
export function gatewayEnvironment(more: Partial<GatewayEnvironment> = {}): GatewayEnvironment {
  return {
    ...GATEWAY_DEFAULTS,
    host: '127.0.0.1',
    port: 0,
    advertisedHost: '127.0.0.1',
    advertisedPort: 0,
    healthPort: 0,
    tls: { type: 'load_balancer' },
    mechanisms: ['SCRAM-SHA-512', 'SCRAM-SHA-256', 'PLAIN'],
    autoCreateTopics: true,
    ...more,
  };
}
