/**
 * What is reported of a DHT: for people, for `doctor` commands and for metrics.
 */
import * as Schema from "effect/Schema"
import { PeerAddress } from "../../base/PeerAddress.ts"

/** The schema of `FamilyStatus`. */
export const FamilyStatus = Schema.Struct({
  /**
   * The local address of its socket; its host may stand for all addresses. The port is that of the TCP port at which
   * the engine listens, unless another program uses that number for UDP or the program chose one.
   */
  local: PeerAddress,
  /** Our id: 40 hexadecimal digits. */
  id: Schema.String,
  /** Nodes in the routing table that answered lately or may still answer. */
  nodes: Schema.Natural,
  /** Those of them that are good (BEP 5): they answered or asked within 15 minutes. */
  goodNodes: Schema.Natural,
  /** Nodes that wait for a place in a full bucket. */
  replacements: Schema.Natural,
  /** Buckets of the routing table. */
  buckets: Schema.Natural,
  /** Lookups that run. */
  lookups: Schema.Natural,
  /** Torrents that others announced to us, and their peers. */
  storedHashes: Schema.Natural,
  storedPeers: Schema.Natural,
  /** Our IP address as most nodes report it (BEP 42); missing until enough of them agree. */
  externalHost: Schema.optionalKey(Schema.String),
  /**
   * Whether nodes in the internet that we have not asked reach us, as far as it is known: `true` once one has done so
   * within the last 15 minutes. Missing during the first 15 minutes, and for a read-only node.
   */
  isReachable: Schema.optionalKey(Schema.Boolean),
  /** Counts since the start. */
  traffic: Schema.Struct({
    /** Queries sent, answers to them, and queries that nobody answered. */
    queriesSent: Schema.Natural,
    answersReceived: Schema.Natural,
    queriesUnanswered: Schema.Natural,
    /** Queries received, and answers and errors that we sent. */
    queriesReceived: Schema.Natural,
    answersSent: Schema.Natural,
    /** Datagrams dropped: over a limit of traffic; not KRPC; answers that nobody was asked for. */
    limited: Schema.Natural,
    malformed: Schema.Natural,
    unasked: Schema.Natural,
    bytesReceived: Schema.Natural,
    bytesSent: Schema.Natural
  })
})

/** The state of one node. */
export type FamilyStatus = typeof FamilyStatus.Type

/** The schema of `DhtStatus`. */
export const DhtStatus = Schema.Struct({
  /** Missing if there is no socket of the family. */
  ipv4: Schema.optionalKey(FamilyStatus),
  ipv6: Schema.optionalKey(FamilyStatus),
  /** The nodes of further local addresses, if UDP is bound to several of a family (BEP 45). Missing if there are none. */
  others: Schema.optionalKey(Schema.Array(FamilyStatus)),
  isReadOnly: Schema.Boolean
})

/** The state of a DHT. */
export type DhtStatus = typeof DhtStatus.Type
