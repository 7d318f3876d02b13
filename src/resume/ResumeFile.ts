/**
 * The bytes of a resume file: a snapshot, and after it a record for each piece stored since. Big-endian.
 *
 * Snapshot: magic (8), version u16, info hash (20), piece count u32, length of the boot identity u8, boot identity
 * (ASCII), bits of the stored pieces, bits of the flushed ones, check u32 over all of that.
 * Record: piece u32, check u32.
 *
 * The check is CRC-32 (ISO 3309), which finds every damage within 32 neighbouring bits. That of a record continues the
 * check of what comes before it, so a record is worth something only behind exactly those bytes: a torn last record, a
 * tail of zeros and what was left behind the place of an overwritten record all end the file, and all before it counts.
 *
 * Knows no medium: writing in an order that survives a crash is `FileResumeStore.ts`'s task.
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import type { BootIdentity } from "./BootIdentity.ts"

const messages = {
  damaged: "is damaged",
  truncated: "ends too early",
  otherVersion: "is of another version",
  otherTorrent: "is of another torrent"
}

/** A file that says nothing about the torrent. `message` ends a sentence that begins with its name. */
export class ResumeFileError extends Data.TaggedError("ResumeFileError")<{
  readonly reason: keyof typeof messages
}> {
  override get message() {
    return messages[this.reason]
  }
}

/** What a snapshot says. */
export interface Snapshot {
  readonly infoHash: InfoHash
  readonly stored: Bitfield.Bitfield
  /** Of the same length as `stored`; members that are not stored are left out. */
  readonly flushed: Bitfield.Bitfield
  readonly boot: BootIdentity
}

/** Where the next record goes. */
export interface Tail {
  /** Bytes that count; what lies behind them does not. */
  readonly end: number
  /** The check that the next record continues. */
  readonly check: number
}

/** Bytes to write, and where the file ends with them. */
export interface Encoded extends Tail {
  readonly bytes: Uint8Array
}

/** What a file says: the snapshot with its records applied. A piece with a record is stored, and not flushed. */
export interface Decoded extends Snapshot, Tail {}

const magic = Bytes.fromLatin1Unsafe("pwresume")
const version = 1
const fixedLength = 8 + 2 + 20 + 4 + 1

/** Bytes of one record. */
export const recordLength = 8

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1
  return byte
})

/** CRC-32 of the bytes from `begin` to `end`, continuing `crc`, which is 0 for the first ones. */
const continueCheck = (crc: number, bytes: Uint8Array, begin: number, end: number): number => {
  crc = ~crc
  for (let index = begin; index < end; index++) crc = crcTable[(crc ^ bytes[index]!) & 0xff]! ^ (crc >>> 8)
  return ~crc >>> 0
}

/** The bytes of a new file. */
export const encodeSnapshot = (snapshot: Snapshot): Encoded => {
  const boot = Bytes.fromLatin1Unsafe(snapshot.boot)
  const bitsLength = snapshot.stored.bytes.length
  const bootEnd = fixedLength + boot.length
  const checked = bootEnd + 2 * bitsLength
  const bytes = new Uint8Array(checked + 4)
  bytes.set(magic)
  Bytes.writeUint16Unsafe(bytes, 8, version)
  bytes.set(snapshot.infoHash, 10)
  Bytes.writeUint32Unsafe(bytes, 30, snapshot.stored.length)
  bytes[34] = boot.length
  bytes.set(boot, fixedLength)
  bytes.set(snapshot.stored.bytes, bootEnd)
  for (let index = 0; index < bitsLength; index++)
    bytes[bootEnd + bitsLength + index] = snapshot.stored.bytes[index]! & snapshot.flushed.bytes[index]!
  const check = continueCheck(0, bytes, 0, checked)
  Bytes.writeUint32Unsafe(bytes, checked, check)
  return { bytes, end: bytes.length, check }
}

/** The records of `pieces`, to be written at `tail.end`. */
export const encodeRecords = (tail: Tail, pieces: ReadonlyArray<number>): Encoded => {
  const bytes = new Uint8Array(pieces.length * recordLength)
  let check = tail.check
  for (let index = 0; index < pieces.length; index++) {
    const begin = index * recordLength
    Bytes.writeUint32Unsafe(bytes, begin, pieces[index]!)
    check = continueCheck(check, bytes, begin, begin + 4)
    Bytes.writeUint32Unsafe(bytes, begin + 4, check)
  }
  return { bytes, end: tail.end + bytes.length, check }
}

/** Reads the file of the torrent `infoHash` of `pieceCount` pieces. */
export const decode = (
  bytes: Uint8Array,
  infoHash: InfoHash,
  pieceCount: number
): Result.Result<Decoded, ResumeFileError> => {
  const fail = (reason: ResumeFileError["reason"]) => Result.fail(new ResumeFileError({ reason }))
  if (bytes.length < fixedLength) return fail("truncated")
  if (!Bytes.equals(bytes.subarray(0, 8), magic)) return fail("damaged")
  if (Bytes.readUint16Unsafe(bytes, 8) !== version) return fail("otherVersion")
  if (!Bytes.equals(bytes.subarray(10, 30), infoHash)) return fail("otherTorrent")
  if (Bytes.readUint32Unsafe(bytes, 30) !== pieceCount) return fail("otherTorrent")

  const bitsLength = (pieceCount + 7) >>> 3
  const bootEnd = fixedLength + bytes[34]!
  const checked = bootEnd + 2 * bitsLength
  if (bytes.length < checked + 4) return fail("truncated")
  let check = continueCheck(0, bytes, 0, checked)
  if (Bytes.readUint32Unsafe(bytes, checked) !== check) return fail("damaged")
  const stored = Bitfield.fromBytes(bytes.subarray(bootEnd, bootEnd + bitsLength), pieceCount)
  const flushed = Bitfield.fromBytes(bytes.subarray(bootEnd + bitsLength, checked), pieceCount)
  if (stored === undefined || flushed === undefined) return fail("damaged")

  let end = checked + 4
  for (; end + recordLength <= bytes.length; end += recordLength) {
    const next = continueCheck(check, bytes, end, end + 4)
    const piece = Bytes.readUint32Unsafe(bytes, end)
    if (Bytes.readUint32Unsafe(bytes, end + 4) !== next || piece >= pieceCount) break
    Bitfield.add(stored, piece)
    Bitfield.remove(flushed, piece)
    check = next
  }
  const boot = Bytes.toLatin1(bytes, fixedLength, bootEnd)
  return Result.succeed({ infoHash, stored, flushed, boot, end, check })
}
