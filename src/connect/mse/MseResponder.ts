/**
 * The accepting side of a Message Stream Encryption handshake (`MseHandshake.ts`), which also finds out whether the
 * peer encrypts at all: a pure machine, bytes in and bytes out. Leaves to its shell how long the handshake may take.
 *
 * Nothing is sent before the peer has sent a public key, and nothing is computed. Holds at most what arrived with one
 * chunk besides 66 kilobytes, the longest first payload.
 */
import * as Bytes from "../../base/Bytes.ts"
import type { InfoHash } from "../../base/InfoHash.ts"
import * as Handshake from "../../wire/Handshake.ts"
import { NotIntroduced } from "../NotIntroduced.ts"
import type { RandomBytes } from "./DiffieHellman.ts"
import * as DiffieHellman from "./DiffieHellman.ts"
import * as MseHandshake from "./MseHandshake.ts"
import * as MseKeys from "./MseKeys.ts"

/** What a handshake is made of. */
export interface Options {
  readonly diffieHellman: DiffieHellman.DiffieHellman
  readonly random: RandomBytes
  /** The torrent with a name (`MseKeys.nameOf`), if it runs here. */
  readonly find: (name: Uint8Array) => InfoHash | undefined
  /** Whether a peer that does not encrypt is refused, as is one that does not offer RC4 for what follows. */
  readonly isRequired: boolean
}

type State =
  /** Waits until it is clear whether the peer encrypts. */
  | { readonly _tag: "Unknown" }
  /** Waits for the key of the peer. */
  | { readonly _tag: "Key" }
  /** Waits for the mark behind the padding. */
  | { readonly _tag: "Mark"; readonly secret: Uint8Array; readonly mark: Uint8Array }
  /** Waits for the name of the torrent. */
  | { readonly _tag: "Name"; readonly secret: Uint8Array }
  /** Waits for the methods that the peer offers. */
  | { readonly _tag: "Methods"; readonly ciphers: MseKeys.Ciphers }
  /** Waits for the end of the second padding, and the length of the first payload. */
  | { readonly _tag: "Padding"; readonly length: number; readonly method: number; readonly ciphers: MseKeys.Ciphers }
  /** Waits for the end of the first payload. */
  | { readonly _tag: "Payload"; readonly length: number; readonly method: number; readonly ciphers: MseKeys.Ciphers }

/** A handshake under way. */
export interface MseResponder {
  readonly options: Options
  readonly arrived: MseHandshake.Arrived
  state: State
}

/** Begins a handshake: nothing has arrived yet. */
export const make = (options: Options): MseResponder => ({
  options,
  arrived: MseHandshake.makeArrived(),
  state: { _tag: "Unknown" }
})

/** The end of a handshake of this side. */
export interface Accepted extends MseHandshake.Established {
  /** Whether the peer has encrypted its handshake. If not, everything is plain, and `rest` is all that has arrived. */
  readonly isEncrypted: boolean
}

/**
 * Takes what has arrived, and passes what is to be sent to `send`. Returns the end of the handshake once it is
 * complete; nothing may be pushed afterwards. Throws `NotIntroduced` if the peer does not keep to it.
 */
export const push = (self: MseResponder, chunk: Uint8Array, send: (bytes: Uint8Array) => void): Accepted | undefined =>
  MseHandshake.advance<State, Accepted>(self, chunk, () => step(self, send))

/** The next state, or the end; `undefined` until more has arrived. */
const step = (
  { arrived, options, state }: MseResponder,
  send: (bytes: Uint8Array) => void
): State | Accepted | undefined => {
  switch (state._tag) {
    case "Unknown":
      return identify(arrived, options)
    case "Key": {
      const theirs = MseHandshake.take(arrived, DiffieHellman.keyLength)
      return theirs && answerKey(options, theirs, send)
    }
    case "Mark":
      return MseHandshake.skipPast(arrived, state.mark) ? { _tag: "Name", secret: state.secret } : undefined
    case "Name": {
      const name = MseHandshake.take(arrived, 20)
      if (name === undefined) return undefined
      const infoHash = options.find(MseKeys.masked(name, state.secret))
      if (infoHash === undefined) throw new NotIntroduced({ reason: "unknown torrent" })
      return { _tag: "Methods", ciphers: MseKeys.ciphers(state.secret, infoHash) }
    }
    case "Methods": {
      const bytes = MseHandshake.take(arrived, 14, state.ciphers.fromDialler)
      return bytes && choose(options, state.ciphers, bytes)
    }
    case "Padding": {
      const bytes = MseHandshake.take(arrived, state.length + 2, state.ciphers.fromDialler)
      if (bytes === undefined) return undefined
      // A peer may wait for this with its first payload.
      send(answerMethods(options, state.ciphers, state.method))
      return { ...state, _tag: "Payload", length: Bytes.readUint16Unsafe(bytes, state.length) }
    }
    case "Payload": {
      const payload = MseHandshake.take(arrived, state.length, state.ciphers.fromDialler)
      return payload && establish(arrived, state, payload)
    }
  }
}

const identify = (arrived: MseHandshake.Arrived, { isRequired }: Options): State | Accepted | undefined => {
  const bytes = MseHandshake.bytesOf(arrived)
  if (bytes.length === 0) return undefined
  if (!Handshake.couldBegin(bytes)) return { _tag: "Key" }
  if (!Handshake.isBeginning(bytes)) return undefined
  if (isRequired) throw new NotIntroduced({ reason: "not encrypted" })
  return { isEncrypted: false, send: undefined, receive: undefined, rest: bytes }
}

const answerKey = (
  { diffieHellman, random }: Options,
  theirs: Uint8Array,
  send: (bytes: Uint8Array) => void
): State => {
  const privateKey = random(DiffieHellman.privateKeyLength)
  const secret = MseHandshake.agree(diffieHellman, privateKey, theirs)
  send(Bytes.concat([diffieHellman.publicKey(privateKey), MseHandshake.padding(random)]))
  return { _tag: "Mark", secret, mark: MseKeys.mark(secret) }
}

/** Plain after the handshake costs no CPU, so it is chosen if both sides allow it. */
const choose = ({ isRequired }: Options, ciphers: MseKeys.Ciphers, bytes: Uint8Array): State => {
  if (!Bytes.equals(bytes.subarray(0, 8), MseHandshake.verification)) throw new NotIntroduced({ reason: "bad mark" })
  const offered = Bytes.readUint32Unsafe(bytes, 8)
  const { plain, rc4 } = MseHandshake.method
  const method = !isRequired && (offered & plain) !== 0 ? plain : offered & rc4
  if (method === 0) throw new NotIntroduced({ reason: "no method" })
  return { _tag: "Padding", length: MseHandshake.paddingLength(bytes, 12), method, ciphers }
}

const answerMethods = ({ random }: Options, { fromAcceptor }: MseKeys.Ciphers, method: number): Uint8Array => {
  const padding = MseHandshake.padding(random)
  const bytes = Bytes.concat([
    MseHandshake.verification,
    MseHandshake.number(4, method),
    MseHandshake.number(2, padding.length),
    padding
  ])
  MseHandshake.applyInPlace(fromAcceptor, bytes)
  return bytes
}

const establish = (
  arrived: MseHandshake.Arrived,
  { ciphers: { fromAcceptor, fromDialler }, method }: Extract<State, { readonly _tag: "Payload" }>,
  payload: Uint8Array
): Accepted => {
  const isPlain = method === MseHandshake.method.plain
  const behind = MseHandshake.bytesOf(arrived)
  if (!isPlain) MseHandshake.applyInPlace(fromDialler, behind)
  return {
    isEncrypted: true,
    send: isPlain ? undefined : fromAcceptor,
    receive: isPlain ? undefined : fromDialler,
    rest: Bytes.concat([payload, behind])
  }
}
