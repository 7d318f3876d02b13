/**
 * Reads a small file whole: torrent files, resume data and whatever else the program expects at a path that a user or a
 * stranger filled.
 *
 * What is there may be anything: a FIFO that nobody writes to, `/dev/zero`, a file of gigabytes. So it is opened without
 * waiting for another end, the open descriptor is asked what it is, only a regular file is read, and never more than the
 * caller expects. Asking the descriptor leaves no moment in which the name can come to lead elsewhere. A blocking open could
 * not be taken back: it would hold a thread of libuv's pool, and with it the end of the process.
 */
import * as NFS from "node:fs"
import * as FileSystem from "node:fs/promises"
import * as Data from "effect/Data"

/** It is no regular file: a FIFO, a device, a socket. */
export class NotRegularFile extends Data.TaggedError("NotRegularFile")<{ readonly path: string }> {
  override get message() {
    return "it is not a regular file"
  }
}

/** It has more bytes than were expected. */
export class FileTooLong extends Data.TaggedError("FileTooLong")<{ readonly path: string; readonly maxBytes: number }> {
  override get message() {
    return `it is longer than ${this.maxBytes} bytes`
  }
}

// Windows has no such flag; `undefined` counts as 0 there.
const flags = NFS.constants.O_RDONLY | (NFS.constants.O_NONBLOCK ?? 0)

/** Bytes that are read beyond the size that a file tells: it may grow, and those of /proc tell none. */
const furtherLength = 65_536

/**
 * The bytes of the regular file at `path`, links followed; at most `maxBytes` of them. Rejects with `NotRegularFile`,
 * `FileTooLong`, or what the system says: a folder is EISDIR, a missing file ENOENT.
 */
export const read = async (path: string, maxBytes: number): Promise<Uint8Array> => {
  const file = await open(path)
  try {
    const stats = await file.stat()
    if (stats.isDirectory()) throw Object.assign(new Error("it is a folder"), { code: "EISDIR" })
    if (!stats.isFile()) throw new NotRegularFile({ path })
    if (stats.size > maxBytes) throw new FileTooLong({ path, maxBytes })
    const chunks: Array<Uint8Array> = []
    let length = 0
    // One byte more than there should be shows the end of a file that does not grow in the same read.
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
    // So does the system answer who opens a socket, or a device without a driver.
    throw error.code === "ENXIO" || error.code === "ENODEV" ? new NotRegularFile({ path }) : error
  })

/** How many bytes of `chunk` were filled; fewer than it has at the end of the file. */
const fill = async (file: FileSystem.FileHandle, chunk: Uint8Array): Promise<number> => {
  let filled = 0
  while (filled < chunk.length) {
    const { bytesRead } = await file.read(chunk, filled, chunk.length - filled, null)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return filled
}
