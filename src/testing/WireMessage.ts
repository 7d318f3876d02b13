/**
 * Peer wire messages as values, for tests: decoded messages can be compared, and messages to send can be written down.
 * The engine itself never makes such values, because they would cost an allocation a block.
 */
import type * as FrameDecoder from "../wire/FrameDecoder.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"

/** A message of BEP 3, BEP 5 (`Port`), BEP 6 (`Suggest` to `AllowedFast`) or BEP 10 (`Extended`). */
export type WireMessage =
  | { readonly _tag: "KeepAlive" }
  | { readonly _tag: "Choke" }
  | { readonly _tag: "Unchoke" }
  | { readonly _tag: "Interested" }
  | { readonly _tag: "NotInterested" }
  | { readonly _tag: "Have"; readonly index: number }
  | { readonly _tag: "Bitfield"; readonly bits: Uint8Array }
  | { readonly _tag: "Request"; readonly index: number; readonly begin: number; readonly length: number }
  | { readonly _tag: "Piece"; readonly index: number; readonly begin: number; readonly block: Uint8Array }
  | { readonly _tag: "Cancel"; readonly index: number; readonly begin: number; readonly length: number }
  | { readonly _tag: "Port"; readonly port: number }
  | { readonly _tag: "Suggest"; readonly index: number }
  | { readonly _tag: "HaveAll" }
  | { readonly _tag: "HaveNone" }
  | { readonly _tag: "Reject"; readonly index: number; readonly begin: number; readonly length: number }
  | { readonly _tag: "AllowedFast"; readonly index: number }
  | { readonly _tag: "Extended"; readonly id: number; readonly payload: Uint8Array }
  /** A frame with an unassigned id; `length` bytes of payload, all zero if it is encoded. */
  | { readonly _tag: "Unknown"; readonly id: number; readonly length: number }

/** Appends the message's frame. */
export const encode = (encoder: FrameEncoder.FrameEncoder, message: WireMessage): void => {
  switch (message._tag) {
    case "KeepAlive":
      FrameEncoder.keepAlive(encoder)
      break
    case "Choke":
      FrameEncoder.choke(encoder)
      break
    case "Unchoke":
      FrameEncoder.unchoke(encoder)
      break
    case "Interested":
      FrameEncoder.interested(encoder)
      break
    case "NotInterested":
      FrameEncoder.notInterested(encoder)
      break
    case "Have":
      FrameEncoder.have(encoder, message.index)
      break
    case "Bitfield":
      FrameEncoder.bitfield(encoder, message.bits)
      break
    case "Request":
      FrameEncoder.request(encoder, message.index, message.begin, message.length)
      break
    case "Piece":
      FrameEncoder.piece(encoder, message.index, message.begin, message.block)
      break
    case "Cancel":
      FrameEncoder.cancel(encoder, message.index, message.begin, message.length)
      break
    case "Port":
      FrameEncoder.port(encoder, message.port)
      break
    case "Suggest":
      FrameEncoder.suggest(encoder, message.index)
      break
    case "HaveAll":
      FrameEncoder.haveAll(encoder)
      break
    case "HaveNone":
      FrameEncoder.haveNone(encoder)
      break
    case "Reject":
      FrameEncoder.reject(encoder, message.index, message.begin, message.length)
      break
    case "AllowedFast":
      FrameEncoder.allowedFast(encoder, message.index)
      break
    case "Extended":
      FrameEncoder.extended(encoder, message.id, message.payload)
      break
    case "Unknown":
      FrameEncoder.raw(encoder, frame(message.id, message.length))
      break
  }
}

/** The frames of `messages`, one after another. */
export const encodeAll = (messages: Iterable<WireMessage>): Uint8Array => {
  const encoder = FrameEncoder.make()
  for (const message of messages) encode(encoder, message)
  return FrameEncoder.take(encoder)
}

/** A frame of any id with `payloadLength` zeros, for decoders to refuse too. */
export const frame = (id: number, payloadLength: number): Uint8Array => {
  const bytes = new Uint8Array(5 + payloadLength)
  new DataView(bytes.buffer).setUint32(0, 1 + payloadLength)
  bytes[4] = id
  return bytes
}

/**
 * A sink that passes each message to `tell`, whole, with copies of its bytes; a block when its last byte has arrived.
 */
export const sink = (tell: (message: WireMessage) => void): FrameDecoder.FrameSink => {
  let piece = { index: 0, begin: 0, block: new Uint8Array(0) }
  return {
    keepAlive: () => tell({ _tag: "KeepAlive" }),
    choke: () => tell({ _tag: "Choke" }),
    unchoke: () => tell({ _tag: "Unchoke" }),
    interested: () => tell({ _tag: "Interested" }),
    notInterested: () => tell({ _tag: "NotInterested" }),
    have: (index) => tell({ _tag: "Have", index }),
    bitfield: (bits) => tell({ _tag: "Bitfield", bits: bits.slice() }),
    request: (index, begin, length) => tell({ _tag: "Request", index, begin, length }),
    pieceBegin: (index, begin, length) => {
      piece = { index, begin, block: new Uint8Array(length) }
    },
    pieceData: (view, offset) => piece.block.set(view, offset),
    pieceEnd: () => tell({ _tag: "Piece", ...piece }),
    cancel: (index, begin, length) => tell({ _tag: "Cancel", index, begin, length }),
    port: (port) => tell({ _tag: "Port", port }),
    suggest: (index) => tell({ _tag: "Suggest", index }),
    haveAll: () => tell({ _tag: "HaveAll" }),
    haveNone: () => tell({ _tag: "HaveNone" }),
    reject: (index, begin, length) => tell({ _tag: "Reject", index, begin, length }),
    allowedFast: (index) => tell({ _tag: "AllowedFast", index }),
    extended: (id, payload) => tell({ _tag: "Extended", id, payload: payload.slice() }),
    unknown: (id, length) => tell({ _tag: "Unknown", id, length })
  }
}
