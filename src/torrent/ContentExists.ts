/**
 * Why a torrent does not start: files lie at its paths that are not its own.
 */
import * as Data from "effect/Data"

/** A file that lies where one of the torrent's belongs. */
export interface ExistingFile {
  /** Components below the download folder, joined by `/`. */
  readonly path: string
  /** Pieces that hold a byte of it, and those of them that match their digest. */
  readonly totalPieces: number
  readonly verifiedPieces: number
  /** Bytes by which it is longer than the torrent's file. */
  readonly excessBytes: number
  /** Whether it is a folder, a link, a pipe or a device. */
  readonly isOther: boolean
}

/**
 * Files exist at the torrent's paths that nothing proves to be its own. Nothing was written. They are left alone unless the
 * torrent is added with `overwrite`.
 */
export class ContentExists extends Data.TaggedError("ContentExists")<{
  /** At least one. */
  readonly files: ReadonlyArray<ExistingFile>
}> {
  override get message() {
    const [first, ...others] = this.files
    const more =
      others.length === 0 ? "" : `, and ${others.length === 1 ? "another file" : `${others.length} other files`}`
    return `${first!.path} ${describe(first!)}${more}; it is left as it is`
  }
}

/** What is wrong with a file, as the end of a sentence. */
const describe = ({ excessBytes, isOther, totalPieces, verifiedPieces }: ExistingFile): string => {
  if (isOther) return "is in the way and is not a regular file"
  const match = `${verifiedPieces} of ${totalPieces} ${totalPieces === 1 ? "piece matches" : "pieces match"}`
  return excessBytes > 0
    ? `is ${excessBytes} bytes longer than the torrent's file (${match})`
    : `exists already and is not the torrent's (${match})`
}
