/**
 * Checks hybrid torrents, which describe their files twice: for version 1 (`files` or `length`) and for version 2
 * (`file tree`, BEP 52). Both descriptions must have the same files, of the same lengths and in the same order, and
 * each file must begin at the same piece in both. Otherwise clients of the two versions would share different content
 * under one torrent.
 */
import * as Result from "effect/Result"
import * as Bytes from "../base/Bytes.ts"
import * as Bencode from "../bencode/Bencode.ts"
import * as FileTree from "./FileTree.ts"

/** A file as version 1 of the torrent describes it. */
export interface VersionOneFile {
  /** The components of its path below the torrent's folder. It is empty in a torrent of a single file. */
  readonly rawPath: ReadonlyArray<Uint8Array>
  readonly length: number
  /** Whether it only fills the space up to the next piece (BEP 47). Such a file has no place in `file tree`. */
  readonly padding: boolean
}

/** Returns what is wrong with a hybrid torrent, as a clause that fits after a colon; `undefined` if it is valid. */
export const fault = ({
  files: entries,
  info,
  infoBytes,
  limits,
  pieceLength,
  singleName
}: {
  /** The decoded dictionary `info` of the torrent. */
  readonly info: Bencode.Dictionary
  /** The bytes from which `info` was decoded. */
  readonly infoBytes: Uint8Array
  /** The limits with which `infoBytes` is decoded again, to see whether its keys are in order. */
  readonly limits: Bencode.DecodeOptions
  /** The files as version 1 describes them, in its order. */
  readonly files: ReadonlyArray<VersionOneFile>
  readonly pieceLength: number
  /** The torrent's name if version 1 has a single file; `undefined` if it has a list of files. */
  readonly singleName: Uint8Array | undefined
}): string | undefined => {
  // These bytes were decoded before as a part of the torrent. If decoding them alone fails all the same, the torrent is
  // refused with the same message.
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

/**
 * Returns a message about the first file that does not begin where version 2 has it; `undefined` if all do. Version 2
 * begins each file at the first piece after the file before it. So version 1 needs padding between them up to that
 * piece, neither less nor more. Padding after the last file is not limited. Empty files may be anywhere, because they
 * have no bytes.
 */
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
