/**
 * Torrents of both versions (BEP 52): whether both halves have the same files, of the same sizes, in the same order.
 */
import * as Result from "effect/Result"
import * as Bytes from "../base/Bytes.ts"
import * as Bencode from "../bencode/Bencode.ts"
import * as FileTree from "./FileTree.ts"

/** A file as version 1 describes it. */
export interface VersionOneFile {
  /** Below the torrent's folder; empty in a single-file torrent. */
  readonly rawPath: ReadonlyArray<Uint8Array>
  readonly length: number
  readonly padding: boolean
}

/** What is wrong with a hybrid, if anything, as a sentence. */
export const fault = ({
  files: entries,
  info,
  infoBytes,
  limits,
  pieceLength,
  singleName
}: {
  readonly info: Bencode.Dictionary
  /** The bytes of `info`. */
  readonly infoBytes: Uint8Array
  readonly limits: Bencode.DecodeOptions
  /** As version 1 describes them, in its order. */
  readonly files: ReadonlyArray<VersionOneFile>
  readonly pieceLength: number
  /** The torrent's name, if version 1 has a single file. */
  readonly singleName: Uint8Array | undefined
}): string | undefined => {
  const decoded = Bencode.decode(infoBytes, limits)
  if (Result.isFailure(decoded) || !decoded.success.ordered) {
    return "`info` has keys that are not in order, which a version 2 torrent must not have"
  }
  const flattened = FileTree.flatten(info.get("file tree"))
  if (Result.isFailure(flattened)) return flattened.failure
  const files = entries.filter(({ padding }) => !padding)
  const tree = flattened.success
  if (files.length !== tree.length) {
    return `\`file tree\` has ${tree.length} files, but version 1 of the torrent has ${files.length}`
  }
  const differs = files.findIndex(({ length, rawPath }, index) => {
    const path = (singleName === undefined ? rawPath : [singleName]).map((part) => Bytes.toLatin1(part))
    const other = tree[index]!
    return (
      length !== other.length || path.length !== other.path.length || path.some((part, i) => part !== other.path[i])
    )
  })
  if (differs >= 0) return `\`file tree\` and version 1 of the torrent differ in file ${differs}`
  return alignmentFault(entries, pieceLength)
}

/** Version 2 begins each file with a piece; version 1 of a hybrid needs padding for that, and no more than that. */
const alignmentFault = (entries: ReadonlyArray<VersionOneFile>, pieceLength: number): string | undefined => {
  let offset = 0
  let end = 0
  for (const [index, { length, padding }] of entries.entries()) {
    if (!padding && length > 0) {
      if (offset !== Math.ceil(end / pieceLength) * pieceLength) {
        return `\`files\` entry ${index} does not begin where \`file tree\` has it, with the next piece after the file before it`
      }
      end = offset + length
    }
    offset += length
  }
  return undefined
}
