/**
 * Where a peer is: host and TCP port. Addresses, not peer ids, are what is dialled, remembered and banned.
 */

/** A peer's address. `host` is an IPv4 or IPv6 address in its canonical text, or a name that a dialer resolves. */
export interface PeerAddress {
  readonly host: string
  readonly port: number
}

/** `host:port`, with an IPv6 host in brackets; equal addresses give equal texts, so it serves as a key. */
export const format = (self: PeerAddress): string =>
  self.host.includes(":") ? `[${self.host}]:${self.port}` : `${self.host}:${self.port}`

/** Reads `host:port` or `[ipv6]:port`; `undefined` where there is no host or the port is not in 1 to 65,535. */
export const parse = (text: string): PeerAddress | undefined => {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^\s:[\]/@]+)):(\d{1,5})$/.exec(text)
  if (match === null) return undefined
  const port = Number(match[3])
  if (port < 1 || port > 65_535) return undefined
  return { host: (match[1] ?? match[2]!).toLowerCase(), port }
}
