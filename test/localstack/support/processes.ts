import { readdir, readFile, readlink } from 'node:fs/promises';

/**
 * The processes of an emulator's run, found by its folder, which each has in its environment or its command line: also
 * those that have left the process group. Linux only.
 */
export async function processesOf(folder: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found: number[] = [];
  for (const pid of pids.filter((pid) => pid !== process.pid)) {
    const text = await Promise.all([read(pid, 'environ'), read(pid, 'cmdline')]);
    if (text.join('\0').includes(folder)) found.push(pid);
  }
  return found;
}

export async function commandOf(pid: number): Promise<string> {
  return (await read(pid, 'cmdline')).replaceAll('\0', ' ');
}

/** The local addresses, as `127.0.0.1:4566`, on which these processes wait for TCP connections or for datagrams. */
export async function listenersOf(pids: readonly number[]): Promise<string[]> {
  const found = new Set<string>();
  for (const pid of pids) {
    const inodes = await socketInodes(pid);
    for (const table of ['tcp', 'tcp6', 'udp', 'udp6']) {
      for (const line of (await read(pid, `net/${table}`)).split('\n').slice(1)) {
        const [, local = '', remote = '', state, , , , , , inode = ''] = line.trim().split(/\s+/);
        const listens = table.startsWith('tcp') ? state === '0A' : /^0+:0000$/.test(remote);
        if (listens && inodes.has(inode)) found.add(addressOf(local));
      }
    }
  }
  return [...found];
}

async function socketInodes(pid: number): Promise<Set<string>> {
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const links = await Promise.all(descriptors.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  return new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
}

/** `0100007F:11D6` is 127.0.0.1:4566: words of 32 bits, each with its bytes reversed on a little-endian machine. */
function addressOf(hex: string): string {
  const [address = '', port = ''] = hex.split(':');
  const bytes = (address.match(/.{8}/g) ?? []).flatMap((word) => [...Buffer.from(word, 'hex')].reverse());
  const mapped = bytes.length === 16 && Buffer.from(bytes.slice(0, 12)).toString('hex') === `${'0'.repeat(20)}ffff`;
  const text = bytes.length === 4 || mapped ? bytes.slice(-4).join('.') : Buffer.from(bytes).toString('hex');
  return `${text}:${Number.parseInt(port, 16)}`;
}

function read(pid: number, name: string): Promise<string> {
  return readFile(`/proc/${pid}/${name}`, 'latin1').catch(() => '');
}
