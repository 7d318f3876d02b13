/**
 * Messages of `ut_metadata`, by which peers send each other the info dict (BEP 9).
 *
 * A bencoded dictionary: `msg_type` (0 request, 1 data, 2 reject), `piece`, and for data `total_size`. The bytes of a
 * data message follow its dictionary. The info dict is cut into pieces of 16 KiB, of which the last may be shorter.
 *
 * Leaves to `peer/MetadataExchange.ts` whether a piece was requested and has the right size, and which sizes are
 * accepted, and to
 * `peer/MetadataServer.ts` whether one is sent.
 */
import * as Result from "effect/Result"
import * as Bytes from "../../base/Bytes.ts"
import * as Bencode from "../../bencode/Bencode.ts"
import { WireError } from "../WireError.ts"

/** Its name in the extension handshake. */
export const extensionName = "ut_metadata"

/** Bytes of every piece of an info dict except the last. */
export const pieceLength = 16_384

/** A message. `piece` is a safe integer of at least 0, which may lie beyond the info dict. */
export type MetadataMessage =
  | { readonly _tag: "Request"; readonly piece: number }
  /** `totalSize` is the length of the info dict, at least 1; `bytes` are 1 to `pieceLength`. */
  | { readonly _tag: "Data"; readonly piece: number; readonly totalSize: number; readonly bytes: Uint8Array }
  | { readonly _tag: "Reject"; readonly piece: number }
  /** A type of a later version, to be ignored (BEP 9). */
  | { readonly _tag: "Unknown" }

const typeOf = { Request: 0, Data: 1, Reject: 2 } as const

/** Room for a piece and the dictionary before it; real dictionaries have about 46 bytes. */
const maxLength = pieceLength + 1_024

/** How many pieces an info dict of `size` bytes has. */
export const pieceCount = (size: number): number => Math.ceil(size / pieceLength)

/** The length of a piece of an info dict of `size` bytes; 0 or less beyond its end. */
export const pieceSize = (size: number, piece: number): number => Math.min(pieceLength, size - piece * pieceLength)

/** Whether a number can be the size of an info dict. Whoever allocates that many bytes compares it with a limit. */
export const isSize = (size: number): boolean => Number.isSafeInteger(size) && size >= 1

const fail = (why: string) => Result.fail(new WireError({ why }))

/**
 * Reads the payload of an `extended` frame. `bytes` of data are a view into it. Fails with `WireError` if it is not a
 * dictionary, lacks a field, or is followed by bytes that do not belong there.
 */
export const decode = (payload: Uint8Array): Result.Result<MetadataMessage, WireError> => {
  const decoded = Bencode.decode(payload, { maxBytes: maxLength, maxDepth: 8, maxTokens: 64, trailing: "ignore" })
  if (Result.isFailure(decoded)) return fail("a metadata message that is not bencoded")
  const { end, value: message } = decoded.success
  if (!Bencode.isDictionary(message)) return fail("a metadata message that is no dictionary")
  const type = Bencode.getInt(message, "msg_type")
  if (type === undefined) return fail("a metadata message without a type")
  if (type !== typeOf.Request && type !== typeOf.Data && type !== typeOf.Reject) {
    return Result.succeed({ _tag: "Unknown" })
  }
  const piece = Bencode.getInt(message, "piece")
  if (piece === undefined || piece < 0) return fail("a metadata message without a piece")
  if (type === typeOf.Data) return decodeData(message, piece, payload.subarray(end))
  if (end < payload.length) return fail("a metadata message with bytes after its end")
  return Result.succeed({ _tag: type === typeOf.Request ? "Request" : "Reject", piece })
}

const decodeData = (
  message: Bencode.Dictionary,
  piece: number,
  bytes: Uint8Array
): Result.Result<MetadataMessage, WireError> => {
  const totalSize = Bencode.getInt(message, "total_size")
  if (totalSize === undefined || !isSize(totalSize)) return fail(`metadata of a total size of ${totalSize} bytes`)
  if (bytes.length === 0 || bytes.length > pieceLength) return fail(`a piece of metadata of ${bytes.length} bytes`)
  return Result.succeed({ _tag: "Data", piece, totalSize, bytes })
}

/** Encodes the payload of an `extended` frame. */
export const encode = (message: Exclude<MetadataMessage, { readonly _tag: "Unknown" }>): Uint8Array => {
  const dictionary = Bencode.encode({
    msg_type: typeOf[message._tag],
    piece: message.piece,
    total_size: message._tag === "Data" ? message.totalSize : undefined
  })
  return message._tag === "Data" ? Bytes.concat([dictionary, message.bytes]) : dictionary
}
