/**
 * Uses the engine with promises, without Effect: `node examples/promise.ts FILE.torrent`. Prints the progress and reads
 * the first file while it is fetched; Ctrl-C ends it in good order.
 */

import { readFile } from "node:fs/promises"
import { PeerAddress } from "piecewise"
import { type Engine, open, type Torrent } from "piecewise/promise"

/** Reads the first file of a torrent, and returns how many bytes it has. */
export const lengthOfFirst = async (torrent: Torrent, signal?: AbortSignal): Promise<number> => {
  let length = 0
  for await (const bytes of torrent.read(0, { signal })) length += bytes.length
  return length
}

/** Downloads a torrent, given as the bytes of its file or as a magnet link. Returns what it has read of it. */
export const download = async (engine: Engine, source: Uint8Array | string, peers: ReadonlyArray<string> = []) => {
  const ended = new AbortController()
  // Stops the torrent at the end of the block.
  await using torrent = await engine.add(source, { peers: peers.flatMap((text) => PeerAddress.parse(text) ?? []) })
  const progress = (async () => {
    for await (const { missingBytes } of torrent.statuses(1_000, ended)) console.log(`${missingBytes} bytes to go`)
  })()
  try {
    const length = await lengthOfFirst(torrent)
    await torrent.completed()
    return length
  } finally {
    ended.abort()
    await progress.catch(() => {})
  }
}

if (import.meta.main) {
  const [file = "", ...peers] = process.argv.slice(2)
  try {
    await using engine = await open({ directory: "downloads" })
    console.log(`read ${await download(engine, await readFile(file), peers)} bytes`)
  } catch (error) {
    const tag = error instanceof Error && "_tag" in error ? `${error._tag}: ` : ""
    console.error(`${tag}${error instanceof Error ? error.message : error}`)
    process.exitCode = 1
  }
}
