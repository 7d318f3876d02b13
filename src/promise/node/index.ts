/**
 * The engine for programs on Node that use promises and not Effect: `piecewise/promise`. Errors are the classes of
 * `piecewise`, and each has a `_tag`.
 */
import * as NodeEngine from "../../node/NodeEngine.ts"
import * as PromiseEngine from "../PromiseEngine.ts"

export type { Engine } from "../PromiseEngine.ts"
export type { Torrent } from "../PromiseTorrent.ts"
export type { Waiting } from "../Running.ts"

/**
 * Opens an engine that stores torrents in a folder. Rejects with `ConnectionError` if it cannot listen.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { createHash } from "node:crypto"
 * import { mkdtemp, rm, writeFile } from "node:fs/promises"
 * import { tmpdir } from "node:os"
 * import { join } from "node:path"
 * import { open } from "piecewise/promise"
 *
 * const directory = await mkdtemp(join(tmpdir(), "piecewise-"))
 * await writeFile(join(directory, "hello.txt"), "hello")
 * const info = "d4:infod6:lengthi5e4:name9:hello.txt12:piece lengthi16384e6:pieces20:"
 * const digest = createHash("sha1").update("hello").digest()
 * {
 *   await using engine = await open({ directory })
 *   const torrent = await engine.add(Buffer.concat([Buffer.from(info), digest, Buffer.from("ee")]))
 *   // At once: the bytes are there already, and are right.
 *   await torrent.completed()
 *   assert.equal((await torrent.status()).missingBytes, 0)
 * }
 * await rm(directory, { recursive: true })
 * ```
 */
export const open = (options: NodeEngine.Options): Promise<PromiseEngine.Engine> =>
  PromiseEngine.fromLayer(NodeEngine.layer(options))

/** Builds an engine from a layer of `piecewise`, such as one with your own storage. Rejects with the layer's error. */
export const fromLayer = PromiseEngine.fromLayer
