import { api } from '../../api.ts';
import { between, since, struct, until } from '../../fields.ts';
import { array, int8, int16, int32, nullable, string } from '../../types.ts';

export const FIND_COORDINATOR = api({
  key: 10,
  name: 'FindCoordinator',
  versions: [0, 6],
  flexible: 3,
  request: { key: until(3)(string), keyType: since(1)(int8, 0), coordinatorKeys: since(4)(array(string)) },
  response: {
    throttleTimeMs: since(1)(int32, 0),
    errorCode: until(3)(int16),
    errorMessage: between(1, 3)(nullable(string)),
    nodeId: until(3)(int32),
    host: until(3)(string),
    port: until(3)(int32),
    coordinators: since(4)(
      array(
        struct({
          key: string,
          nodeId: int32,
          host: string,
          port: int32,
          errorCode: int16,
          errorMessage: nullable(string),
        }),
      ),
    ),
  },
});
