/**
 * Both sides of encrypted handshakes without a network: machines with seeded randomness and padding of chosen lengths.
 */
import * as Bytes from "../../../src/base/Bytes.ts"
import type { InfoHash } from "../../../src/base/InfoHash.ts"
import * as Prng from "../../../src/base/Prng.ts"
import * as MseHandshake from "../../../src/connect/mse/MseHandshake.ts"
import * as MseInitiator from "../../../src/connect/mse/MseInitiator.ts"
import * as MseResponder from "../../../src/connect/mse/MseResponder.ts"
import * as TorrentNames from "../../../src/connect/mse/TorrentNames.ts"
import * as NodeDiffieHellman from "../../../src/connect/provider/node/NodeDiffieHellman.ts"

export const diffieHellman = NodeDiffieHellman.make()

export const infoHash = new Uint8Array(20).fill(7) as InfoHash

/** The torrents that the accepting side has. */
export const torrents = TorrentNames.make()
TorrentNames.add(torrents, infoHash)

/** Random bytes of a seed, in which the padding has the given lengths, one after the other. */
export const randomWith = (seed: number, paddings: ReadonlyArray<number> = []) => {
  const bytes = Prng.bytesOf(Prng.make(seed))
  const left = [...paddings]
  let drawn: number | undefined
  return (length: number): Uint8Array => {
    // The length of a padding is drawn, and then the padding.
    const isPadding = drawn !== undefined
    drawn = isPadding || length !== 2 ? undefined : left.shift()
    return drawn === undefined ? bytes(length) : MseHandshake.number(2, drawn)
  }
}

export interface Options {
  readonly seed?: number
  /** Lengths of the paddings that each side sends. */
  readonly paddings?: readonly [ReadonlyArray<number>, ReadonlyArray<number>]
  readonly methods?: number
  readonly isRequired?: boolean
  readonly asksFor?: InfoHash
  readonly payload?: Uint8Array
}

/** Makes the machines of both sides. */
export const make = (options: Options = {}) => {
  const { paddings = [], payload = Bytes.fromText("the handshake of BEP 3"), seed = 1 } = options
  const find = (name: Uint8Array) => TorrentNames.find(torrents, name)
  return {
    payload,
    initiator: MseInitiator.make({
      diffieHellman,
      random: randomWith(seed, paddings[0]),
      infoHash: options.asksFor ?? infoHash,
      methods: options.methods ?? MseHandshake.anyMethod,
      payload
    }),
    responder: MseResponder.make({
      diffieHellman,
      random: randomWith(seed + 1, paddings[1]),
      find,
      isRequired: options.isRequired === true
    })
  }
}

/** Cuts a stream at the given places. */
export const cut = (stream: Uint8Array, places: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const ends = [...new Set(places.map((place) => place % (stream.length + 1)))].sort((a, b) => a - b)
  return [0, ...ends].map((begin, index) => stream.subarray(begin, ends[index] ?? stream.length))
}

/** The two sides of a handshake that has ended. */
export interface Ended {
  readonly initiator: MseHandshake.Established
  readonly responder: MseResponder.Accepted
  /** Bytes that each side has sent. */
  readonly sent: readonly [Uint8Array, Uint8Array]
}

/**
 * Lets both sides talk until both have ended. Each flight is cut by `cutting`. `behind` is what each side sends right
 * after its part of the handshake, as it crosses the network if it is plain.
 */
export const run = (
  options: Options = {},
  cutting: (stream: Uint8Array) => ReadonlyArray<Uint8Array> = (stream) => [stream]
): Ended => {
  const { initiator, responder } = make(options)
  const sent: [Array<Uint8Array>, Array<Uint8Array>] = [[], []]
  const inbox: [Array<Uint8Array>, Array<Uint8Array>] = [[], [initiator.first]]
  sent[0].push(initiator.first)
  let ends: [MseHandshake.Established | undefined, MseResponder.Accepted | undefined] = [undefined, undefined]
  const deliver = (to: 0 | 1): boolean => {
    const flight = Bytes.concat(inbox[to].splice(0))
    if (flight.length === 0) return false
    for (const chunk of cutting(flight)) {
      const send = (bytes: Uint8Array) => {
        sent[to].push(bytes)
        inbox[1 - to]!.push(bytes)
      }
      if (to === 0) ends = [MseInitiator.push(initiator, chunk, send) ?? ends[0], ends[1]]
      else ends = [ends[0], MseResponder.push(responder, chunk, send) ?? ends[1]]
    }
    return true
  }
  while (deliver(1) || deliver(0)) {}
  if (ends[0] === undefined || ends[1] === undefined) throw new Error("the handshake has not ended")
  return { initiator: ends[0], responder: ends[1], sent: [Bytes.concat(sent[0]), Bytes.concat(sent[1])] }
}
