/**
 * What a DHT node may cost, and what it costs others.
 */

/** Limits of one node, that is of one family of addresses. */
export interface DhtLimits {
  /** Queries that we send a second, on average; short bursts may be twice that. More makes lookups wait. */
  readonly queriesPerSecond: number
  /** Bytes of answers that we send a second, on average. What exceeds it is not answered. */
  readonly answerBytesPerSecond: number
  /**
   * Bytes of answers a second to one host (an IPv4 address, or an IPv6 /64), on average. As the sender of a query may be
   * forged, this is what anybody can make us send to a host that never asked.
   */
  readonly answerBytesPerSecondPerHost: number
  /** Datagrams a second that are read from one host, on average. */
  readonly datagramsPerSecondPerHost: number
  /** Lookups that run at once. More wait for their turn. */
  readonly lookups: number
  /** Info hashes that others announce to us. A further one replaces the one that was announced longest ago. */
  readonly storedHashes: number
  /** Peers of all these hashes. */
  readonly storedPeers: number
  /** Peers of one hash. A further one replaces the one that was announced longest ago. */
  readonly storedPeersPerHash: number
  /**
   * Peers that one public host (as above) may announce, over all hashes. A further one is refused.
   *
   * Too few refuse users behind one NAT. Too many let a few hosts drive out the hashes of all others, because each peer
   * may be of another hash, and the hash that was announced longest ago is replaced. A torrent is announced to the eight
   * nodes closest to its hash. If a thousand users behind a NAT have a hundred torrents each, that is 800,000 announces,
   * about one for each node in a DHT of a million. The default is a hundred times that, and twenty hosts are needed to
   * fill `storedHashes`.
   *
   * Hosts of a local network are few and trusted, and in a small DHT of their own each node stores most torrents. So this
   * limit is not for them; the limits above are.
   */
  readonly storedPeersPerHost: number
}

/** Frugal: a node at rest sends a few hundred bytes a second, and one under attack at most 32 KiB. */
export const defaults: DhtLimits = {
  queriesPerSecond: 60,
  answerBytesPerSecond: 32_768,
  answerBytesPerSecondPerHost: 2_048,
  datagramsPerSecondPerHost: 20,
  lookups: 16,
  storedHashes: 2_000,
  storedPeers: 20_000,
  storedPeersPerHash: 500,
  storedPeersPerHost: 100
}
