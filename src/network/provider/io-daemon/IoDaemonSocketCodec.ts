/**
 * Frames of the io-daemon's sockets, which travel as binary messages of one WebSocket, a frame each. Pure.
 *
 * Frame: op u8, socket id u32, then the fields of the op; big-endian, text in UTF-8. A host is 1 to 255 bytes. Written
 * twice: here and in `native-host/io-daemon/src/sockets/`.
 *
 * | op | to the daemon | op | from the daemon |
 * | --- | --- | --- | --- |
 * | 1 | Dial: port u16, host | 17 | Opened: port u16, host |
 * | 2 | Listen: port u16, backlog u16, host | 18 | Failed: code |
 * | 3 | Bind: port u16, host | 19 | Data: bytes |
 * | 4 | Data: bytes | 20 | Credit: u32 |
 * | 5 | Credit: u32 | 21 | Closed: code |
 * | 6 | Close | 22 | Accepted: id u32, port u16, host |
 * | 7 | Send: port u16, host length u8, host, payload | 23 | Datagram: port u16, host length u8, host, payload |
 *
 * Ids that the client chooses are below `firstAcceptedId` and only grow; those of accepted connections are from there
 * on. `IoDaemonSession.ts` decides which frame is allowed when. Bytes of a decoded frame are views of the message.
 */
import * as Data from "effect/Data"
import * as Bytes from "../../../base/Bytes.ts"
import type { PeerAddress } from "../../../base/PeerAddress.ts"

/** A message that is no frame, or one that its sender may not send. `why` ends a sentence. */
export class SocketFrameError extends Data.TaggedError("SocketFrameError")<{ readonly why: string }> {
  override get message() {
    return this.why
  }
}

/** Bytes of a TCP connection. */
export interface DataFrame {
  readonly _tag: "Data"
  readonly id: number
  readonly bytes: Uint8Array
}

/** So many more bytes may be sent. */
export interface CreditFrame {
  readonly _tag: "Credit"
  readonly id: number
  readonly bytes: number
}

/** Frames from the client. */
export type ClientFrame =
  | DataFrame
  | CreditFrame
  | { readonly _tag: "Dial" | "Bind"; readonly id: number; readonly address: PeerAddress }
  | { readonly _tag: "Listen"; readonly id: number; readonly address: PeerAddress; readonly backlog: number }
  | { readonly _tag: "Close"; readonly id: number }
  | { readonly _tag: "Send"; readonly id: number; readonly address: PeerAddress; readonly payload: Uint8Array }

/** Frames from the daemon. */
export type DaemonFrame =
  | DataFrame
  | CreditFrame
  /** The socket is open: with its remote address if it was dialled, with its own otherwise. */
  | { readonly _tag: "Opened"; readonly id: number; readonly address: PeerAddress }
  /** The socket could not be opened, and is gone. `code` is the system's: `ECONNREFUSED`. */
  | { readonly _tag: "Failed"; readonly id: number; readonly code: string }
  /** The socket is gone. `code` is empty if the remote has closed its half. */
  | { readonly _tag: "Closed"; readonly id: number; readonly code: string }
  /** The listener `id` has a new connection from `address`, whose id is `accepted`. */
  | { readonly _tag: "Accepted"; readonly id: number; readonly accepted: number; readonly address: PeerAddress }
  | { readonly _tag: "Datagram"; readonly id: number; readonly address: PeerAddress; readonly payload: Uint8Array }

/** Lowest id of a connection that a listener accepted. */
export const firstAcceptedId = 0x8000_0000

/** Most bytes of a host. */
export const maxHostBytes = 255

const headerBytes = 5

const clientOps = { Dial: 1, Listen: 2, Bind: 3, Data: 4, Credit: 5, Close: 6, Send: 7 } as const
const daemonOps = { Opened: 17, Failed: 18, Data: 19, Credit: 20, Closed: 21, Accepted: 22, Datagram: 23 } as const

/** A frame of `op` with room for `length` bytes behind its header. */
const allocate = (op: number, id: number, length: number): Uint8Array<ArrayBuffer> => {
  const frame = new Uint8Array(headerBytes + length)
  frame[0] = op
  Bytes.writeUint32Unsafe(frame, 1, id)
  return frame
}

const withBytes = (op: number, id: number, bytes: Uint8Array): Uint8Array<ArrayBuffer> => {
  const frame = allocate(op, id, bytes.length)
  frame.set(bytes, headerBytes)
  return frame
}

const withUint32 = (op: number, id: number, value: number): Uint8Array<ArrayBuffer> => {
  const frame = allocate(op, id, 4)
  Bytes.writeUint32Unsafe(frame, headerBytes, value)
  return frame
}

/** The host is the rest of the frame; the caller fills `gap` bytes before it, or before the port. */
const withAddress = (op: number, id: number, address: PeerAddress, gapBefore: number, gapAfter: number) => {
  const host = Bytes.fromText(address.host)
  const frame = allocate(op, id, gapBefore + 2 + gapAfter + host.length)
  Bytes.writeUint16Unsafe(frame, headerBytes + gapBefore, address.port)
  frame.set(host, headerBytes + gapBefore + 2 + gapAfter)
  return frame
}

const withDatagram = (op: number, id: number, address: PeerAddress, payload: Uint8Array): Uint8Array<ArrayBuffer> => {
  const host = Bytes.fromText(address.host)
  const frame = allocate(op, id, 3 + host.length + payload.length)
  Bytes.writeUint16Unsafe(frame, headerBytes, address.port)
  frame[headerBytes + 2] = host.length
  frame.set(host, headerBytes + 3)
  frame.set(payload, headerBytes + 3 + host.length)
  return frame
}

/** Why no frame can carry `address`, as the end of a sentence; `undefined` if one can. */
export const whyNotCarried = ({ host, port }: PeerAddress): string | undefined => {
  if (!Number.isInteger(port) || port < 0 || port > 65_535) return "port is not valid"
  const hostBytes = Bytes.fromText(host).length
  return hostBytes === 0 || hostBytes > maxHostBytes ? "address is not valid" : undefined
}

/** Encodes a frame to the daemon; `whyNotCarried` must have returned `undefined` for its addresses. */
export const encodeClient = (frame: ClientFrame): Uint8Array<ArrayBuffer> => {
  const op = clientOps[frame._tag]
  switch (frame._tag) {
    case "Data":
      return withBytes(op, frame.id, frame.bytes)
    case "Credit":
      return withUint32(op, frame.id, frame.bytes)
    case "Dial":
    case "Bind":
      return withAddress(op, frame.id, frame.address, 0, 0)
    case "Listen": {
      const bytes = withAddress(op, frame.id, frame.address, 0, 2)
      Bytes.writeUint16Unsafe(bytes, headerBytes + 2, frame.backlog)
      return bytes
    }
    case "Close":
      return allocate(op, frame.id, 0)
    case "Send":
      return withDatagram(op, frame.id, frame.address, frame.payload)
  }
}

/** Encodes a frame from the daemon, for code that plays one. */
export const encodeDaemon = (frame: DaemonFrame): Uint8Array<ArrayBuffer> => {
  const op = daemonOps[frame._tag]
  switch (frame._tag) {
    case "Data":
      return withBytes(op, frame.id, frame.bytes)
    case "Credit":
      return withUint32(op, frame.id, frame.bytes)
    case "Opened":
      return withAddress(op, frame.id, frame.address, 0, 0)
    case "Failed":
    case "Closed":
      return withBytes(op, frame.id, Bytes.fromText(frame.code))
    case "Accepted": {
      const bytes = withAddress(op, frame.id, frame.address, 4, 0)
      Bytes.writeUint32Unsafe(bytes, headerBytes, frame.accepted)
      return bytes
    }
    case "Datagram":
      return withDatagram(op, frame.id, frame.address, frame.payload)
  }
}

const fail = (why: string): never => {
  throw new SocketFrameError({ why })
}

const idOf = (message: Uint8Array): number => {
  if (message.length < headerBytes) fail(`a frame of ${message.length} bytes`)
  const id = Bytes.readUint32Unsafe(message, 1)
  return id === 0 ? fail("a socket of id 0") : id
}

const needs = (message: Uint8Array, length: number): void => {
  if (message.length < headerBytes + length) fail(`a frame of op ${message[0]} with only ${message.length} bytes`)
}

const isExactly = (message: Uint8Array, length: number): void => {
  if (message.length !== headerBytes + length) {
    fail(`a frame of op ${message[0]} with ${message.length} bytes instead of ${headerBytes + length}`)
  }
}

const uint32At = (message: Uint8Array, offset: number): number => Bytes.readUint32Unsafe(message, headerBytes + offset)

const textOf = (bytes: Uint8Array): string => Bytes.toTextStrict(bytes) ?? fail("text that is not UTF-8")

/** The address whose port is `portOffset` bytes behind the header and whose host is the rest from `hostOffset` on. */
const addressOf = (message: Uint8Array, portOffset: number, hostOffset: number): PeerAddress => {
  needs(message, hostOffset)
  const host = message.subarray(headerBytes + hostOffset)
  if (host.length === 0 || host.length > maxHostBytes) fail(`a host of ${host.length} bytes`)
  return { host: textOf(host), port: Bytes.readUint16Unsafe(message, headerBytes + portOffset) }
}

const datagramOf = (message: Uint8Array): { readonly address: PeerAddress; readonly payload: Uint8Array } => {
  needs(message, 3)
  const payloadOffset = 3 + message[headerBytes + 2]!
  needs(message, payloadOffset)
  return {
    address: addressOf(message.subarray(0, headerBytes + payloadOffset), 0, 3),
    payload: message.subarray(headerBytes + payloadOffset)
  }
}

/** Decodes a frame from the daemon; throws a `SocketFrameError` if it is none. */
export const decodeDaemonUnsafe = (message: Uint8Array): DaemonFrame => {
  const id = idOf(message)
  switch (message[0]) {
    case daemonOps.Data:
      return { _tag: "Data", id, bytes: message.subarray(headerBytes) }
    case daemonOps.Credit:
      isExactly(message, 4)
      return { _tag: "Credit", id, bytes: uint32At(message, 0) }
    case daemonOps.Opened:
      return { _tag: "Opened", id, address: addressOf(message, 0, 2) }
    case daemonOps.Failed:
      return { _tag: "Failed", id, code: textOf(message.subarray(headerBytes)) }
    case daemonOps.Closed:
      return { _tag: "Closed", id, code: textOf(message.subarray(headerBytes)) }
    case daemonOps.Accepted: {
      const address = addressOf(message, 4, 6)
      const accepted = uint32At(message, 0)
      if (accepted < firstAcceptedId) fail(`an accepted connection of id ${accepted}`)
      return { _tag: "Accepted", id, accepted, address }
    }
    case daemonOps.Datagram:
      return { _tag: "Datagram", id, ...datagramOf(message) }
    default:
      return fail(`a frame of op ${message[0]}`)
  }
}

/** Decodes a frame from a client, for code that plays a daemon. Throws as `decodeDaemonUnsafe` does. */
export const decodeClientUnsafe = (message: Uint8Array): ClientFrame => {
  const id = idOf(message)
  switch (message[0]) {
    case clientOps.Data:
      return { _tag: "Data", id, bytes: message.subarray(headerBytes) }
    case clientOps.Credit:
      isExactly(message, 4)
      return { _tag: "Credit", id, bytes: uint32At(message, 0) }
    case clientOps.Dial:
      return { _tag: "Dial", id, address: addressOf(message, 0, 2) }
    case clientOps.Bind:
      return { _tag: "Bind", id, address: addressOf(message, 0, 2) }
    case clientOps.Listen: {
      const address = addressOf(message, 0, 4)
      return { _tag: "Listen", id, address, backlog: Bytes.readUint16Unsafe(message, headerBytes + 2) }
    }
    case clientOps.Close:
      isExactly(message, 0)
      return { _tag: "Close", id }
    case clientOps.Send:
      return { _tag: "Send", id, ...datagramOf(message) }
    default:
      return fail(`a frame of op ${message[0]}`)
  }
}
