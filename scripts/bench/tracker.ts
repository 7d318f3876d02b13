/** A tracker that always answers with the seeders, for clients that cannot be given the address of a peer. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

export interface Tracker {
  readonly url: string
  /** The seeders that it answers with. */
  hosts: ReadonlyArray<string>
  port: number
  /** Called if a client announced itself that does not connect to 127.0.0.0/8, so that somebody must connect to it. */
  dial: (port: number) => void
  readonly close: () => void
}

export const start = async (): Promise<Tracker> => {
  const server = createServer((request, response) => {
    const url = new URL(request.url!, "http://127.0.0.1")
    const peers = Buffer.concat(
      tracker.hosts.map((host) => Buffer.from([...host.split(".").map(Number), tracker.port >>> 8, tracker.port & 255]))
    )
    const body = Buffer.concat([
      Buffer.from(`d8:completei${tracker.hosts.length}e8:intervali1800e5:peers${peers.length}:`),
      peers,
      Buffer.from("e")
    ])
    response.end(body)
    // Transmission.
    const { searchParams } = url
    if (/[?&]peer_id=-TR/.test(request.url!) && searchParams.get("event") !== "stopped") {
      tracker.dial(Number(searchParams.get("port")))
    }
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const tracker: Tracker = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/announce`,
    hosts: [],
    port: 0,
    dial: () => {},
    close: () => {
      server.close()
      server.closeAllConnections()
    }
  }
  return tracker
}
