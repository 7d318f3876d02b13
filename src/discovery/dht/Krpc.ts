/**
 * KRPC, the messages of the DHT (BEP 5): one bencoded dictionary in one datagram. A query asks, a response or an error
 * answers with the same transaction id.
 *
 * Decoding never trusts a datagram: lengths, depth and the number of values are limited, what is needed must be there
 * and of its type, and keys that are not known are ignored. What is decoded is copied, because a datagram is only valid
 * until its sink returns. Whether an answer was asked for, and whether its address is the one that was asked, is for
 * `Transactions.ts`.
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as Bytes from "../../base/Bytes.ts"
import * as CompactPeers from "../../base/CompactPeers.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import * as Bencode from "../../bencode/Bencode.ts"
import * as BloomFilter from "./BloomFilter.ts"
import type { NodeId } from "./NodeId.ts"
import * as NodeIds from "./NodeId.ts"
import * as NodeInfo from "./NodeInfo.ts"

/** A datagram is not a message that we understand. `why` is a clause. */
export class KrpcError extends Data.TaggedError("piecewise/KrpcError")<{ readonly why: string }> {
  override get message() {
    return `Bad KRPC message: ${this.why}.`
  }
}

/** Most bytes of a message. No node needs more than an Ethernet frame, and fragments are often lost. */
export const maxBytes = 2_048

/** Most bytes of a message of ours: what passes every path of IPv6 (RFC 8200 section 5), with headers. */
export const maxSentBytes = 1_200

/** Most bytes of a transaction id, which is repeated in our answer. Most have two. */
export const maxTransactionBytes = 32

/** Most bytes of a token, which we must send back. Most have four or eight. */
export const maxTokenBytes = 64

/** Most nodes of a family in one response. BEP 5 says eight; some send more. */
export const maxNodes = 16

const limits = { maxBytes, maxDepth: 8, maxTokens: 400, trailing: "ignore" } as const

/** What a query asks. */
export type Question =
  | { readonly _tag: "ping" }
  | { readonly _tag: "find_node"; readonly target: NodeId; readonly want: ReadonlyArray<CompactPeers.Family> }
  | {
      readonly _tag: "get_peers"
      readonly target: NodeId
      readonly want: ReadonlyArray<CompactPeers.Family>
      /** Whether only peers that are no seeds are wanted, and whether filters are (BEP 33). */
      readonly noSeeds: boolean
      readonly scrape: boolean
    }
  | {
      readonly _tag: "announce_peer"
      readonly target: NodeId
      readonly port: number
      readonly impliedPort: boolean
      readonly isSeed: boolean
      readonly token: Uint8Array
    }

/** A query. */
export interface Query {
  readonly _tag: "Query"
  readonly transaction: Uint8Array
  readonly id: NodeId
  /** Whether the sender answers no queries, so that it has no place in a routing table (BEP 43). */
  readonly isReadOnly: boolean
  /** `undefined` for a method that is not known. */
  readonly question: Question | undefined
}

/** An answer. */
export interface Response {
  readonly _tag: "Response"
  readonly transaction: Uint8Array
  readonly id: NodeId
  /** Our address as the node sees it (BEP 42). */
  readonly seen: PeerAddress | undefined
  readonly nodes: ReadonlyArray<NodeInfo.NodeInfo>
  readonly peers: ReadonlyArray<PeerAddress>
  readonly token: Uint8Array | undefined
  /** The filters of seeds and of other peers, if they were asked for (BEP 33). */
  readonly filters: { readonly seeds: Uint8Array; readonly downloaders: Uint8Array } | undefined
}

/** A refusal. */
export interface Failure {
  readonly _tag: "Failure"
  readonly transaction: Uint8Array
  readonly code: number
}

/** A message. */
export type Message = Query | Response | Failure

/** The codes of errors (BEP 5). */
export const errors = { generic: 201, server: 202, protocol: 203, unknownMethod: 204 } as const

/** Decodes a datagram. */
export const decode = (bytes: Uint8Array): Result.Result<Message, KrpcError> => {
  const decoded = Bencode.decode(bytes, limits)
  if (Result.isFailure(decoded)) return refuse(decoded.failure.why)
  const root = decoded.success.value
  if (!Bencode.isDictionary(root)) return refuse("it is not a dictionary")
  const transaction = Bencode.getBytes(root, "t")
  if (transaction === undefined || transaction.length > maxTransactionBytes) return refuse("it has no transaction id")
  switch (Bencode.getText(root, "y")) {
    case "q":
      return decodeQuery(root, copy(transaction))
    case "r":
      return decodeResponse(root, copy(transaction))
    case "e":
      return decodeFailure(root, copy(transaction))
    default:
      return refuse("it is neither a query, a response nor an error")
  }
}

const refuse = (why: string) => Result.fail(new KrpcError({ why }))

// Not slice: on a Node Buffer it returns a view.
const copy = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes)

const readId = (self: Bencode.Dictionary, key: string): NodeId | undefined => {
  const bytes = Bencode.getBytes(self, key)
  return bytes === undefined ? undefined : NodeIds.fromBytes(copy(bytes))
}

const decodeQuery = (root: Bencode.Dictionary, transaction: Uint8Array): Result.Result<Query, KrpcError> => {
  const method = Bencode.getText(root, "q")
  const a = Bencode.getDictionary(root, "a")
  if (method === undefined || a === undefined) return refuse("the query has no method or no arguments")
  const id = readId(a, "id")
  if (id === undefined) return refuse("the query has no id")
  const question = readQuestion(method, a)
  if (typeof question === "string") return refuse(question)
  return Result.succeed({ _tag: "Query", transaction, id, isReadOnly: Bencode.getInt(root, "ro") === 1, question })
}

const readQuestion = (method: string, a: Bencode.Dictionary): Question | undefined | string => {
  if (method === "ping") return { _tag: "ping" }
  if (method === "find_node") {
    const target = readId(a, "target")
    return target === undefined ? "find_node has no target" : { _tag: "find_node", target, want: readWant(a) }
  }
  if (method !== "get_peers" && method !== "announce_peer") return undefined
  const target = readId(a, "info_hash")
  if (target === undefined) return `${method} has no info hash`
  if (method === "get_peers") {
    const [noSeeds, scrape] = [isSet(a, "noseed"), isSet(a, "scrape")]
    return { _tag: "get_peers", target, want: readWant(a), noSeeds, scrape }
  }
  const token = Bencode.getBytes(a, "token")
  if (token === undefined || token.length > maxTokenBytes) return "announce_peer has no token"
  const impliedPort = isSet(a, "implied_port")
  const port = Bencode.getInt(a, "port") ?? 0
  if (!impliedPort && (port < 1 || port > 65_535)) return "announce_peer has no port"
  return { _tag: "announce_peer", target, port, impliedPort, isSeed: isSet(a, "seed"), token: copy(token) }
}

const isSet = (self: Bencode.Dictionary, key: string): boolean => (Bencode.getInt(self, key) ?? 0) !== 0

/** BEP 32: a list of `n4` and `n6`. */
const readWant = (a: Bencode.Dictionary): ReadonlyArray<CompactPeers.Family> => {
  const texts = (Bencode.getList(a, "want") ?? []).map((value) => (Bencode.isBytes(value) ? Bytes.toText(value) : ""))
  const families: Array<CompactPeers.Family> = []
  if (texts.includes("n4")) families.push("ipv4")
  if (texts.includes("n6")) families.push("ipv6")
  return families
}

const decodeResponse = (root: Bencode.Dictionary, transaction: Uint8Array): Result.Result<Response, KrpcError> => {
  const r = Bencode.getDictionary(root, "r")
  const id = r === undefined ? undefined : readId(r, "id")
  if (r === undefined || id === undefined) return refuse("the response has no id")
  const nodes4 = NodeInfo.decode(Bencode.getBytes(r, "nodes") ?? none, "ipv4")
  const nodes6 = NodeInfo.decode(Bencode.getBytes(r, "nodes6") ?? none, "ipv6")
  if (nodes4 === undefined || nodes6 === undefined) return refuse("the nodes are not made of whole entries")
  const token = Bencode.getBytes(r, "token")
  return Result.succeed({
    _tag: "Response",
    transaction,
    id,
    seen: readSeen(Bencode.getBytes(root, "ip") ?? none),
    nodes: [...nodes4.slice(0, maxNodes), ...nodes6.slice(0, maxNodes)],
    peers: readPeers(Bencode.getList(r, "values") ?? []),
    token: token === undefined || token.length > maxTokenBytes ? undefined : copy(token),
    filters: readFilters(r)
  })
}

const none = new Uint8Array()

const readSeen = (bytes: Uint8Array): PeerAddress | undefined => {
  if (bytes.length === CompactPeers.entryLength.ipv4) return CompactPeers.read(bytes, 0, "ipv4")
  return bytes.length === CompactPeers.entryLength.ipv6 ? CompactPeers.read(bytes, 0, "ipv6") : undefined
}

/** Each value has an address of its own; what is none is left out. */
const readPeers = (values: ReadonlyArray<Bencode.Value>): ReadonlyArray<PeerAddress> =>
  values.flatMap((value) => {
    const peer = Bencode.isBytes(value) ? readSeen(value) : undefined
    return peer === undefined ? [] : [peer]
  })

const readFilters = (r: Bencode.Dictionary): Response["filters"] => {
  const seeds = Bencode.getBytes(r, "BFsd")
  const downloaders = Bencode.getBytes(r, "BFpe")
  return seeds?.length === BloomFilter.length && downloaders?.length === BloomFilter.length
    ? { seeds: copy(seeds), downloaders: copy(downloaders) }
    : undefined
}

const decodeFailure = (root: Bencode.Dictionary, transaction: Uint8Array): Result.Result<Failure, KrpcError> => {
  const code = Bencode.getList(root, "e")?.[0]
  return Result.succeed({ _tag: "Failure", transaction, code: typeof code === "number" ? code : errors.generic })
}

/** How we introduce ourselves: `PW` and the version (BEP 20's two letters, as BEP 5 asks). */
const version = Uint8Array.of(0x50, 0x57, 0, 1)

const wanted = { ipv4: "n4", ipv6: "n6" } as const

/** 1 for `true`; nothing for `false`, which is what nodes assume. */
const flag = (value: boolean): 1 | undefined => (value ? 1 : undefined)

/** Encodes a query. One with an unknown method is a ping. */
export const encodeQuery = ({
  id,
  isReadOnly,
  question,
  transaction
}: Omit<Query, "_tag" | "question"> & { readonly question: Question }): Uint8Array<ArrayBuffer> =>
  Bencode.encode({
    a: { id, ...encodeQuestion(question) },
    q: question._tag,
    ro: flag(isReadOnly),
    t: transaction,
    v: version,
    y: "q"
  })

const encodeQuestion = (question: Question): Record<string, Bencode.Encodable | undefined> => {
  switch (question._tag) {
    case "ping":
      return {}
    case "find_node":
      return { target: question.target, want: encodeWant(question.want) }
    case "get_peers":
      return {
        info_hash: question.target,
        noseed: flag(question.noSeeds),
        scrape: flag(question.scrape),
        want: encodeWant(question.want)
      }
    case "announce_peer":
      return {
        implied_port: flag(question.impliedPort),
        info_hash: question.target,
        port: question.port,
        seed: flag(question.isSeed),
        token: question.token
      }
  }
}

const encodeWant = (want: ReadonlyArray<CompactPeers.Family>): ReadonlyArray<string> | undefined =>
  want.length === 0 ? undefined : want.map((family) => wanted[family])

/** What an answer of ours says. Nodes and peers are in compact form already. */
export interface Answer {
  readonly transaction: Uint8Array
  readonly id: NodeId
  /** The address that the query came from (BEP 42). */
  readonly seen: PeerAddress
  readonly nodes?: Uint8Array | undefined
  readonly nodes6?: Uint8Array | undefined
  readonly peers?: ReadonlyArray<Uint8Array> | undefined
  readonly token?: Uint8Array | undefined
  readonly filters?: Response["filters"]
}

/** Encodes a response. */
export const encodeResponse = (answer: Answer): Uint8Array<ArrayBuffer> => {
  const { filters, id, nodes, nodes6, peers, seen, token, transaction } = answer
  return Bencode.encode({
    ip: compact(seen),
    r: { BFpe: filters?.downloaders, BFsd: filters?.seeds, id, nodes, nodes6, token, values: peers },
    t: transaction,
    v: version,
    y: "r"
  })
}

/** An address of either family in compact form; nothing for a name. */
export const compact = (address: PeerAddress): Uint8Array => {
  const { ipv4, ipv6 } = CompactPeers.encode([address])
  return ipv4.length > 0 ? ipv4 : ipv6
}

const texts = {
  [errors.generic]: "Error",
  [errors.server]: "Server Error",
  [errors.protocol]: "Bad Token",
  [errors.unknownMethod]: "Method Unknown"
} as const

/** Encodes an error, which is shorter than every query. */
export const encodeFailure = (transaction: Uint8Array, code: keyof typeof texts): Uint8Array<ArrayBuffer> =>
  Bencode.encode({ e: [code, texts[code]], t: transaction, y: "e" })
