/** A network of hosts on this machine: namespaces on one bridge. Needs root and the `ip` program of iproute2. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';

/** Names and addresses are this process's own, so that two test runs on one machine do not meet. */
const BRIDGE = `p2rt${process.pid % 10_000}`;
const SUBNET = `10.231.${process.pid % 250}`;
const BRIDGE_ADDRESS = `${SUBNET}.1`;

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Hosts with a network of their own. */
export type HostNetwork = {
  /** Command line that runs a program on a host. */
  on: (host: number, command: string[]) => string[];
  /** The address under which hosts reach a server that listens on this machine's loopback. */
  publish: (address: string) => Promise<string>;
  /** Pulls a host's cable. Its programs run on. */
  cut: (host: number) => void;
  remove: () => void;
};

const namespace = (host: number) => `${BRIDGE}-${host}`;
const cable = (host: number) => `${BRIDGE}c${host}`;

/** Makes `hosts` hosts, or returns null where that is not possible (not root, no iproute2, no namespaces). */
export function makeNetwork(hosts: number): HostNetwork | null {
  const remove = () => {
    for (let host = 0; host < hosts; host++) {
      quietly('netns', 'del', namespace(host));
      quietly('link', 'del', cable(host));
    }
    quietly('link', 'del', BRIDGE);
  };
  const quietly = (...args: string[]) => {
    try {
      ip(...args);
    } catch {
      // It is not there.
    }
  };
  try {
    ip('link', 'add', BRIDGE, 'type', 'bridge');
    ip('addr', 'add', `${BRIDGE_ADDRESS}/24`, 'dev', BRIDGE);
    ip('link', 'set', BRIDGE, 'up');
    for (let host = 0; host < hosts; host++) {
      const name = namespace(host);
      const plug = `${BRIDGE}p${host}`;
      ip('netns', 'add', name);
      ip('link', 'add', cable(host), 'type', 'veth', 'peer', 'name', plug);
      ip('link', 'set', cable(host), 'master', BRIDGE, 'up');
      ip('link', 'set', plug, 'netns', name);
      ip('-n', name, 'addr', 'add', `${SUBNET}.${host + 2}/24`, 'dev', plug);
      ip('-n', name, 'link', 'set', plug, 'up');
      ip('-n', name, 'link', 'set', 'lo', 'up');
    }
  } catch {
    remove();
    return null;
  }
  return {
    on: (host, command) => ['ip', 'netns', 'exec', namespace(host), ...command],
    publish: async (address) => {
      const port = Number(address.split(':').at(-1));
      const relay = createServer((socket) => {
        const inner = connect(port, '127.0.0.1');
        for (const end of [socket, inner])
          end.on('error', () => {
            socket.destroy();
            inner.destroy();
          });
        socket.pipe(inner).pipe(socket);
      }).listen(0, BRIDGE_ADDRESS);
      relay.unref();
      await once(relay, 'listening');
      return `${BRIDGE_ADDRESS}:${(relay.address() as AddressInfo).port}`;
    },
    cut: (host) => ip('link', 'set', cable(host), 'down'),
    remove,
  };
}
