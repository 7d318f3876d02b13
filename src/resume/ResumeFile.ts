/**
 * The bytes of a resume file: a snapshot, and after it a record for each thing that changed since. Big-endian.
 *
 * Snapshot: magic (8), version u16, info hash (20), piece count u32, length of the boot identity u8, boot identity
 * (ASCII), bits of the stored pieces, bits of the flushed ones, number of file records u32, file records, check u32
 * over all of that.
 * File record: index u32, flags u8 (1: being written, 2: stale), length u64, mtime u64 (ns), length of the identity u8,
 * identity (ASCII).
 * Record: kind u8 (1: stored piece, 2: flushed piece, 3: file, 4: dropped piece), piece u32 or file record, check u32.
 *
 * A snapshot with a flushed piece that is not stored is damaged. A record of such a piece changes nothing: it is
 * written if the file that said that the piece is stored was deleted meanwhile.
 *
 * Version 1 has no file records, in the snapshot or behind it, and its records are a piece u32 and a check u32: pieces
 * that were stored. It does not say what the files looked like, so the pieces it names must be verified.
 *
 * The check is CRC-32 (ISO 3309), which finds every damage within 32 neighbouring bits. That of a record continues the
 * check of what is before it, so a record is valid only behind exactly those bytes: a torn last record, a tail of zeros
 * and the rest of an overwritten record all end the file, and everything before them counts.
 *
 * Knows no medium: `FileResumeStore.ts` writes in an order that survives a crash.
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { BootIdentity } from "./BootIdentity.ts"
import type { FileRecord, OpenOptions, ResumeChange } from "./ResumeStore.ts"

const messages = {
  damaged: "is damaged",
  truncated: "ends too early",
  otherVersion: "is of another version",
  otherTorrent: "is of another torrent"
}

/** A file that is not valid for the torrent. `message` ends a sentence that begins with its name. */
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
  readonly files: ReadonlyMap<number, FileRecord>
  readonly boot: BootIdentity
}

/** Where the next record goes. */
export interface Tail {
  /** Bytes that count; bytes behind them do not. */
  readonly end: number
  /** The check that the next record continues. */
  readonly check: number
}

/** Bytes to write, and the end of the file after them. */
export interface Encoded extends Tail {
  readonly bytes: Uint8Array
}

/** What a file says: the snapshot with its records applied. */
export interface Decoded extends Snapshot, Tail {
  /** Whether records can be appended: not to a file of an earlier version. */
  readonly isCurrent: boolean
  /** Bytes of the snapshot alone. */
  readonly snapshotLength: number
}

const magic = Bytes.fromLatin1Unsafe("pwresume")
const version = 2
const fixedLength = 8 + 2 + 20 + 4 + 1
const checkLength = 4

const kinds = { stored: 1, flushed: 2, file: 3, dropped: 4 } as const
const writingFlag = 1
const staleFlag = 2
const fileFixedLength = 4 + 1 + 8 + 8 + 1
const maxIdentityLength = 64

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1
  return byte
})

/** CRC-32 of the bytes from `begin` to `end`, continuing `crc`, which is 0 at first. */
const continueCheck = (crc: number, bytes: Uint8Array, begin: number, end: number): number => {
  crc = ~crc
  for (let index = begin; index < end; index++) crc = crcTable[(crc ^ bytes[index]!) & 0xff]! ^ (crc >>> 8)
  return ~crc >>> 0
}

const fileLength = ({ identity }: FileRecord): number => fileFixedLength + identity.length

/** Writes a file record at `at`, and returns the offset behind it. */
const writeFile = (bytes: Uint8Array, at: number, index: number, record: FileRecord): number => {
  Bytes.writeUint32Unsafe(bytes, at, index)
  bytes[at + 4] = (record.isWriting ? writingFlag : 0) | (record.isStale ? staleFlag : 0)
  Bytes.writeUint64Unsafe(bytes, at + 5, record.length)
  new DataView(bytes.buffer, bytes.byteOffset).setBigInt64(at + 13, record.mtimeNs)
  bytes[at + 21] = record.identity.length
  bytes.set(Bytes.fromLatin1Unsafe(record.identity), at + fileFixedLength)
  return at + fileLength(record)
}

interface ReadFile {
  readonly index: number
  readonly record: FileRecord
  /** The offset behind it. */
  readonly end: number
}

/** Reads the file record at `at`, or says why it is invalid: it goes beyond the end, or makes no sense. */
const readFile = (bytes: Uint8Array, at: number, fileCount: number): ReadFile | "truncated" | "damaged" => {
  if (at + fileFixedLength > bytes.length) return "truncated"
  const index = Bytes.readUint32Unsafe(bytes, at)
  const identityEnd = at + fileFixedLength + bytes[at + 21]!
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const length = view.getBigUint64(at + 5)
  if (index >= fileCount || bytes[at + 4]! > (writingFlag | staleFlag)) return "damaged"
  if (bytes[at + 21]! > maxIdentityLength || length > BigInt(Number.MAX_SAFE_INTEGER)) return "damaged"
  if (identityEnd > bytes.length) return "truncated"
  const record: FileRecord = {
    isWriting: (bytes[at + 4]! & writingFlag) !== 0,
    isStale: (bytes[at + 4]! & staleFlag) !== 0,
    length: Number(length),
    mtimeNs: view.getBigInt64(at + 13),
    identity: Bytes.toLatin1(bytes, at + fileFixedLength, identityEnd)
  }
  return { index, record, end: identityEnd }
}

/** The bytes of a new file. */
export const encodeSnapshot = (snapshot: Snapshot): Encoded => {
  const boot = Bytes.fromLatin1Unsafe(snapshot.boot)
  const bitsLength = snapshot.stored.bytes.length
  const bootEnd = fixedLength + boot.length
  const filesBegin = bootEnd + 2 * bitsLength + 4
  let checked = filesBegin
  for (const record of snapshot.files.values()) checked += fileLength(record)
  const bytes = new Uint8Array(checked + checkLength)
  bytes.set(magic)
  Bytes.writeUint16Unsafe(bytes, 8, version)
  bytes.set(snapshot.infoHash, 10)
  Bytes.writeUint32Unsafe(bytes, 30, snapshot.stored.length)
  bytes[34] = boot.length
  bytes.set(boot, fixedLength)
  bytes.set(snapshot.stored.bytes, bootEnd)
  for (let index = 0; index < bitsLength; index++)
    bytes[bootEnd + bitsLength + index] = snapshot.stored.bytes[index]! & snapshot.flushed.bytes[index]!
  Bytes.writeUint32Unsafe(bytes, filesBegin - 4, snapshot.files.size)
  let at = filesBegin
  for (const [index, record] of snapshot.files) at = writeFile(bytes, at, index, record)
  const check = continueCheck(0, bytes, 0, checked)
  Bytes.writeUint32Unsafe(bytes, checked, check)
  return { bytes, end: bytes.length, check }
}

/** Bytes of one record of a piece. */
export const pieceRecordLength = 1 + 4 + checkLength

/** The records of a change, to be written at `tail.end`. */
export const encodeRecords = (tail: Tail, change: ResumeChange): Encoded => {
  const { dropped = [], files = new Map<number, FileRecord>(), flushed = [], stored = [] } = change
  const pieces: ReadonlyArray<readonly [kind: number, pieces: ReadonlyArray<PieceIndex>]> = [
    [kinds.dropped, dropped],
    [kinds.stored, stored],
    [kinds.flushed, flushed]
  ]
  let length = (dropped.length + stored.length + flushed.length) * pieceRecordLength
  for (const record of files.values()) length += 1 + fileLength(record) + checkLength
  const bytes = new Uint8Array(length)
  let check = tail.check
  let begin = 0
  const finish = (end: number) => {
    check = continueCheck(check, bytes, begin, end)
    Bytes.writeUint32Unsafe(bytes, end, check)
    begin = end + checkLength
  }
  for (const [kind, ofKind] of pieces) {
    // Facts of files are valid only without the dropped pieces, and a piece counts only with the facts as they are now.
    if (kind === kinds.stored) {
      for (const [index, record] of files) {
        bytes[begin] = kinds.file
        finish(writeFile(bytes, begin + 1, index, record))
      }
    }
    for (const piece of ofKind) {
      bytes[begin] = kind
      Bytes.writeUint32Unsafe(bytes, begin + 1, piece)
      finish(begin + 5)
    }
  }
  return { bytes, end: tail.end + bytes.length, check }
}

/** Reads the file of a torrent. */
export const decode = (bytes: Uint8Array, expected: OpenOptions): Result.Result<Decoded, ResumeFileError> => {
  const { fileCount, infoHash, pieceCount } = expected
  const fail = (reason: ResumeFileError["reason"]) => Result.fail(new ResumeFileError({ reason }))
  if (bytes.length < fixedLength) return fail("truncated")
  if (!Bytes.equals(bytes.subarray(0, 8), magic)) return fail("damaged")
  const found = Bytes.readUint16Unsafe(bytes, 8)
  if (found !== 1 && found !== version) return fail("otherVersion")
  if (!Bytes.equals(bytes.subarray(10, 30), infoHash)) return fail("otherTorrent")
  if (Bytes.readUint32Unsafe(bytes, 30) !== pieceCount) return fail("otherTorrent")

  const bitsLength = (pieceCount + 7) >>> 3
  const bootEnd = fixedLength + bytes[34]!
  const bitsEnd = bootEnd + 2 * bitsLength
  const files = new Map<number, FileRecord>()
  let checked = bitsEnd
  if (found === version) {
    if (bytes.length < bitsEnd + 4) return fail("truncated")
    const count = Bytes.readUint32Unsafe(bytes, bitsEnd)
    checked += 4
    for (let left = count; left > 0; left--) {
      const file = readFile(bytes, checked, fileCount)
      if (typeof file === "string") return fail(file)
      files.set(file.index, file.record)
      checked = file.end
    }
  }
  if (bytes.length < checked + checkLength) return fail("truncated")
  const check = continueCheck(0, bytes, 0, checked)
  if (Bytes.readUint32Unsafe(bytes, checked) !== check) return fail("damaged")
  const stored = Bitfield.fromBytes(bytes.subarray(bootEnd, bootEnd + bitsLength), pieceCount)
  const flushed = Bitfield.fromBytes(bytes.subarray(bootEnd + bitsLength, bitsEnd), pieceCount)
  if (stored === undefined || flushed === undefined) return fail("damaged")
  // `encodeSnapshot` never writes that: a piece which is not stored cannot have been flushed.
  if (flushed.bytes.some((byte, index) => (byte & ~stored.bytes[index]!) !== 0)) return fail("damaged")

  const snapshot = { infoHash, stored, flushed, files, boot: Bytes.toLatin1(bytes, fixedLength, bootEnd) }
  const snapshotLength = checked + checkLength
  const tail: Tail = { end: snapshotLength, check }
  const end = found === 1 ? applyFirst(bytes, tail, snapshot) : applyRecords(bytes, tail, snapshot, fileCount)
  return Result.succeed({ ...snapshot, ...end, snapshotLength, isCurrent: found === version })
}

/** What records change. */
type Applied = Pick<Decoded, "stored" | "flushed"> & { readonly files: Map<number, FileRecord> }

const applyRecords = (bytes: Uint8Array, tail: Tail, to: Applied, fileCount: number): Tail => {
  let { check, end } = tail
  while (end + pieceRecordLength <= bytes.length) {
    const kind = bytes[end]!
    const file = kind === kinds.file ? readFile(bytes, end + 1, fileCount) : undefined
    if (typeof file === "string") break
    const checked = file?.end ?? end + 5
    const next = continueCheck(check, bytes, end, checked)
    if (checked + checkLength > bytes.length || Bytes.readUint32Unsafe(bytes, checked) !== next) break
    if (file !== undefined) to.files.set(file.index, file.record)
    else if (!applyPiece(to, kind, Bytes.readUint32Unsafe(bytes, end + 1))) break
    check = next
    end = checked + checkLength
  }
  return { end, check }
}

const applyPiece = ({ flushed, stored }: Applied, kind: number, piece: number): boolean => {
  if (piece >= stored.length) return false
  if (kind === kinds.stored) {
    Bitfield.add(stored, piece)
    Bitfield.remove(flushed, piece)
    return true
  }
  if (kind === kinds.dropped) {
    Bitfield.remove(stored, piece)
    Bitfield.remove(flushed, piece)
    return true
  }
  if (kind !== kinds.flushed) return false
  if (Bitfield.has(stored, piece)) Bitfield.add(flushed, piece)
  return true
}

const applyFirst = (bytes: Uint8Array, tail: Tail, to: Applied): Tail => {
  let { check, end } = tail
  for (; end + 8 <= bytes.length; end += 8) {
    const next = continueCheck(check, bytes, end, end + 4)
    const piece = Bytes.readUint32Unsafe(bytes, end)
    if (Bytes.readUint32Unsafe(bytes, end + 4) !== next || !applyPiece(to, kinds.stored, piece)) break
    check = next
  }
  return { end, check }
}
