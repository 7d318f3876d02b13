/**
 * Which peers an engine wants: whom it dials and accepts, in which order, whom it keeps while places are short, whom it
 * unchokes, and how long it bans for what.
 *
 * A policy is a record of plain functions over plain values. They are called for each address, dial, connection and
 * choking round, never for a block, and must return at once. What a policy does not say is as in `standard`, so
 * policies are made by spreading it, or of partial ones (`compose`):
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Layer } from "effect"
 * import { PeerId, PeerPolicy } from "piecewise"
 * import { NodeEngine } from "piecewise/node"
 *
 * const policy = PeerPolicy.compose(PeerPolicy.lanFirst, PeerPolicy.clients({ deny: ["-XL"] }))
 * export const engine = Layer.provide(NodeEngine.layer({ directory: "downloads" }), PeerPolicy.layer(policy))
 *
 * const address = { host: "192.168.1.2", port: 6881 }
 * const neighbour: PeerPolicy.Candidate = {
 *   ...{ address, origin: { _tag: "Exchange" }, infoHash: undefined },
 *   ...{ peerId: undefined, client: undefined }
 * }
 * assert.equal(policy.rank(neighbour), 1)
 * assert.equal(policy.rank({ ...neighbour, address: { host: "203.0.113.9", port: 6881 } }), 0)
 * const peerId = PeerId.fromBytes(new TextEncoder().encode("-XL0012-abcdefghijkl"))
 * assert.equal(policy.admits({ ...neighbour, peerId }), false)
 * ```
 *
 * The limits of the engine are not the policy's: it cannot unchoke more peers than there are slots, hold more places,
 * or ban for longer than `longestBan`, and a peer that sent wrong bytes always leaves. A function that throws is a
 * defect: its torrent fails with it, and nobody is admitted or unchoked for it. Values that make no sense count as the
 * standard ones.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as IpAddress from "../base/IpAddress.ts"
import * as IpRanges from "../base/IpRanges.ts"
import * as PeerId from "../base/PeerId.ts"
import * as Reach from "../base/Reach.ts"
import type { Ourselves } from "../connect/DialPriority.ts"
import * as DialPriority from "../connect/DialPriority.ts"
import * as Bans from "./Bans.ts"
import type { Candidate } from "./Candidate.ts"
import * as Choker from "./Choker.ts"

export type { Ourselves } from "../connect/DialPriority.ts"
export type { Candidate, Origin } from "./Candidate.ts"

/** A connected peer in a choking round. The same object in every round until its connection ends. */
export interface Contender extends Candidate {
  /** Whether it wants pieces from us. */
  readonly peerInterested: boolean
  /** Whether we want pieces from it. */
  readonly amInterested: boolean
  /** Whether it says that it will not download any more (BEP 21). */
  readonly isUploadOnly: boolean
  /** Useful payload bytes that it sent us on this connection. */
  readonly usefulBytes: number
  /** Payload bytes that we sent it on this connection. */
  readonly uploadedBytes: number
  /** Whether the peer opened the connection. */
  readonly isIncoming: boolean
  /** When the handshake was done (milliseconds, of the clock of `Round.now`). */
  readonly connectedAt: number
  /** Whether it may request blocks now. */
  readonly isUnchoked: boolean
  /** Whether it let requests time out, and has sent nothing since. */
  readonly isSnubbed: boolean
  /** How much of the torrent it says that it has, 0 to 1. */
  readonly progress: number
  /** How fast it sends us useful blocks, and we send it blocks: averages of about the last 10 seconds. */
  readonly downloadBytesPerSecond: number
  readonly uploadBytesPerSecond: number
}

/** What a choking round depends on besides the peers. */
export interface Round {
  /** How many peers may be unchoked; 0 or more. */
  readonly slots: number
  /** Whether everything that is wanted is stored, so that no peer can send us anything. */
  readonly isSeeding: boolean
  /** Milliseconds of a clock that is never set back. */
  readonly now: number
  /** A number from 0 to below 1. Simulations repeat it, so take chance from here. */
  readonly random: () => number
}

/** Returns the peers that are unchoked until the next round, the most important first. */
export type Choose = (peers: ReadonlyArray<Contender>, round: Round) => Iterable<Contender>

/** Something that a peer did. */
export interface Offence {
  readonly candidate: Candidate
  /**
   * - `lie`: it sent wrong bytes, and others have right ones.
   * - `protocol error`: it sent what the protocol does not allow.
   * - `flood`: it sent blocks or requests without end that nobody asked for.
   * - `useless`: it lost its place, because it was of no use for two minutes while others waited.
   */
  readonly what: "lie" | "protocol error" | "flood" | "useless"
  /** The end of a sentence. */
  readonly why: string
  /** How often the address was banned before. Counting begins again a day after its last ban. */
  readonly bans: number
  /** Whether it has contributed to a piece that passed. */
  readonly isProven: boolean
}

/** The decisions of an engine about peers. */
export interface PeerPolicy {
  /**
   * Whether a peer may be dialled, accepted and kept. Asked when an address is named and again before it is dialled;
   * for a connection to us before anything is read from it; after the handshake, when `peerId` is known and before
   * anything is sent in reply; and after the extension handshake, when `client` is known. A peer that is not admitted
   * is not dialled for an hour.
   */
  readonly admits: (candidate: Candidate) => boolean
  /**
   * How much a peer is preferred: a finite number, and the standard one is 0. Of the addresses that are due, those of
   * the highest rank are dialled first. While the places of a torrent are short, its peers of lower ranks leave for
   * those of higher ones. Which torrent gets how many places does not depend on ranks.
   */
  readonly rank: (candidate: Candidate) => number
  /**
   * In which order addresses of one rank that have failed as often are dialled: the highest number first, `undefined`
   * last. Computed again when it changes how others see us.
   */
  readonly priority: (candidate: Candidate, ourselves: Ourselves) => number | undefined
  /**
   * Makes what decides who is unchoked in one torrent, with a state of its own. A round takes place about once a
   * second, and whenever a peer's interest changed or an unchoked peer left. At most `slots` peers are unchoked: those
   * that it returns first.
   */
  readonly choker: () => Choose
  /**
   * For how long the address of a peer is banned; `undefined`: not at all. A number is milliseconds. At most
   * `longestBan`, and for a lie at least `shortestBan`.
   */
  readonly ban: (offence: Offence) => Duration.Input | undefined
}

/** The longest ban (milliseconds): a day. */
export const longestBan = Bans.longestBan

/** The shortest ban for a lie (milliseconds). */
export const shortestBan = 60_000

/**
 * What every policy is made from: admits everybody, prefers nobody, dials in the order of BEP 40, unchokes in return
 * for blocks and in turns while it seeds (`Choker.ts`), and bans for lies alone: ten minutes at first, and twice as
 * long with each further lie.
 */
export const standard: PeerPolicy = {
  admits: () => true,
  rank: () => 0,
  priority: ({ address }, ourselves) => DialPriority.of(ourselves, address),
  choker: () => {
    const choker = Choker.make<Contender>()
    return (peers, round) => Choker.step(choker, peers, round)
  },
  ban: ({ bans, what }) => (what === "lie" ? Bans.banAfter(bans) : undefined)
}

/** The policy of an engine; default `standard`. */
export const PeerPolicy = Context.Reference<PeerPolicy>("piecewise/swarm/PeerPolicy", { defaultValue: () => standard })

/** Provides a policy. What it leaves out is as in `standard`. */
export const layer = (policy: Partial<PeerPolicy>): Layer.Layer<never> =>
  Layer.succeed(PeerPolicy, { ...standard, ...said(policy) })

/** What a policy says. A decision that is `undefined` is left out. */
const said = (policy: Partial<PeerPolicy>): Partial<PeerPolicy> =>
  Object.fromEntries(Object.entries(policy).filter(([, decision]) => decision !== undefined))

/**
 * One policy of several: a peer is admitted if all of them admit it, ranks are added, and of each other decision the
 * last one counts.
 */
export const compose = (...policies: ReadonlyArray<Partial<PeerPolicy>>): PeerPolicy => {
  const admits = policies.flatMap((policy) => policy.admits ?? [])
  const ranks = policies.flatMap((policy) => policy.rank ?? [])
  return {
    ...Object.assign({}, standard, ...policies.map(said)),
    admits: (candidate) => admits.every((admits) => admits(candidate)),
    rank: (candidate) => ranks.reduce((sum, rank) => sum + rank(candidate), 0)
  }
}

/**
 * The networks around: RFC 1918 and RFC 4193, link-local (RFC 3927, RFC 4291 section 2.5.6), and this machine itself.
 */
export const lan: ReadonlyArray<string> = [
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "169.254.0.0/16",
  "127.0.0.0/8",
  "fc00::/7",
  "fe80::/10",
  "::1/128"
]

/** A text that should be a subnet, an address or a range of addresses. */
export class InvalidSubnet extends Schema.TaggedError<InvalidSubnet>()("piecewise/InvalidSubnet", {
  text: Schema.String
}) {
  override get message() {
    return `${JSON.stringify(this.text)} is no subnet such as 10.0.0.0/8 or fd00::/8`
  }
}

function* read(ranges: Iterable<string | IpRanges.IpRange>): Generator<IpRanges.IpRange> {
  for (const given of ranges) {
    const range = typeof given === "string" ? IpRanges.parse(given) : given
    if (range === undefined) throw new InvalidSubnet({ text: String(given) })
    yield range
  }
}

const around = IpRanges.make(read(lan))

/** Prefers peers in the networks around (`lan`): dials them first, and keeps them while places are short. */
export const lanFirst: Pick<PeerPolicy, "rank"> = {
  rank: ({ address }) => (IpRanges.has(around, address.host) ? 1 : 0)
}

/** Which subnets peers may be in. Texts as `IpRanges.parse` reads them. */
export interface SubnetOptions {
  /** If present, only peers in these are admitted. */
  readonly allow?: Iterable<string | IpRanges.IpRange> | undefined
  /** No peer in these is admitted, even if it is in `allow`. */
  readonly deny?: Iterable<string | IpRanges.IpRange> | undefined
}

/**
 * Admits peers by their subnet, however long the lists are. An IPv6 address that leads to a denied IPv4 address is
 * denied as well, and so is a host name, because what it resolves to is not known yet.
 *
 * Throws `InvalidSubnet` if a text is none. Read texts of a user with `IpRanges.parse`, or `IpRanges.parseList`, first.
 */
export const subnets = ({ allow, deny }: SubnetOptions): Pick<PeerPolicy, "admits"> => {
  const allowed = allow && IpRanges.make(read(allow))
  const denied = IpRanges.make(read(deny ?? []))
  const isUnrestricted = allowed === undefined && IpRanges.isEmpty(denied)
  return {
    admits: ({ address }) => {
      if (isUnrestricted) return true
      const bytes = IpAddress.parse(IpAddress.withoutZone(address.host))
      if (bytes === undefined) return false
      if (allowed !== undefined && !IpRanges.hasBytes(allowed, bytes)) return false
      return !Reach.formsOf(bytes).some((form) => IpRanges.hasBytes(denied, form))
    }
  }
}

/**
 * Which clients peers may be. A text names a client if the peer id begins with it (BEP 20: `-XL`, `-qB46`), or a name
 * of the client does, in capitals or not: the one that stands for its id (`PeerId.client`), or the one that it gives
 * itself (BEP 10 `v`).
 */
export interface ClientOptions {
  /** If present, only these are admitted. */
  readonly allow?: ReadonlyArray<string> | undefined
  /** None of these is admitted. */
  readonly deny?: ReadonlyArray<string> | undefined
}

/** Admits peers by their client. A peer can pretend to be any client. */
export const clients = ({ allow, deny = [] }: ClientOptions): Pick<PeerPolicy, "admits"> => ({
  admits: ({ client, peerId }) => {
    if (peerId === undefined) return true
    const id = String.fromCharCode(...peerId)
    const names = [PeerId.client(peerId), client ?? ""].map((name) => name.toLowerCase())
    const isNamed = (text: string): boolean =>
      id.startsWith(text) || names.some((name) => name.startsWith(text.toLowerCase()))
    return allow?.some(isNamed) !== false && !deny.some(isNamed)
  }
})
