/**
 * Reads a small file whole: torrent files, resume data and other files at a path whose content a user or a stranger
 * chose.
 *
 * Anything may be at the path: a FIFO without a writer, `/dev/zero`, a file of gigabytes. So the file is opened without
 * waiting for another end, its type is read from the open descriptor, and only a regular file is read, never beyond the
 * caller's limit. The descriptor keeps the file if the name comes to mean another one. A blocking open could not be
 * cancelled: it would hold a thread of libuv's pool, and keep the process from ending.
 */
import * as NFS from "node:fs"
import * as FileSystem from "node:fs/promises"
import * as Data from "effect/Data"

/** The path is no regular file: a FIFO, a device, a socket. */
export class NotRegularFile extends Data.TaggedError("NotRegularFile")<{ readonly path: string }> {
  override get message() {
    return "it is not a regular file"
  }
}

/** The file is longer than expected. */
export class FileTooLong extends Data.TaggedError("FileTooLong")<{ readonly path: string; readonly maxBytes: number }> {
  override get message() {
    return `it is longer than ${this.maxBytes} bytes`
  }
}

// Windows has no such flag; `undefined` counts as 0 there.
const flags = NFS.constants.O_RDONLY | (NFS.constants.O_NONBLOCK ?? 0)

/** Bytes read beyond the reported size: the file may grow, and files in /proc report none. */
const furtherLength = 65_536

/**
 * The bytes of the regular file at `path`, links followed; at most `maxBytes` of them. Rejects with `NotRegularFile`,
 * `FileTooLong`, or the system's error: EISDIR for a folder, ENOENT for a missing file. `check` may look at what the file
 * is before it is read, and throw an error to reject with.
 */
export const read = async (
  path: string,
  maxBytes: number,
  check: (stats: NFS.Stats) => void = () => {}
): Promise<Uint8Array> => {
  const file = await open(path)
  try {
    const stats = await file.stat()
    if (stats.isDirectory()) throw Object.assign(new Error("it is a folder"), { code: "EISDIR" })
    if (!stats.isFile()) throw new NotRegularFile({ path })
    check(stats)
    if (stats.size > maxBytes) throw new FileTooLong({ path, maxBytes })
    const chunks: Array<Uint8Array> = []
    let length = 0
    // One byte more than expected shows the end of a file that does not grow, in the same read.
    for (let room = stats.size + 1; ; room = furtherLength) {
      const chunk = Buffer.allocUnsafe(Math.min(room, maxBytes + 1 - length))
      const filled = await fill(file, chunk)
      chunks.push(chunk.subarray(0, filled))
      length += filled
      if (length > maxBytes) throw new FileTooLong({ path, maxBytes })
      if (filled < chunk.length) return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
    }
  } finally {
    await file.close()
  }
}

const open = (path: string): Promise<FileSystem.FileHandle> =>
  FileSystem.open(path, flags).catch((error: NodeJS.ErrnoException) => {
    // The system's answer to opening a socket, or a device without a driver.
    throw error.code === "ENXIO" || error.code === "ENODEV" ? new NotRegularFile({ path }) : error
  })

/** How many bytes of `chunk` were filled; fewer than its length at the end of the file. */
const fill = async (file: FileSystem.FileHandle, chunk: Uint8Array): Promise<number> => {
  let filled = 0
  while (filled < chunk.length) {
    const { bytesRead } = await file.read(chunk, filled, chunk.length - filled, null)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return filled
}
