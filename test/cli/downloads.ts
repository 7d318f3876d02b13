/** Downloads through the command line, from a peer in this process. */
import { readdir, readFile, writeFile } from "node:fs/promises"
import * as path from "node:path"
import { assert } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as PeerAddress from "../../src/base/PeerAddress.ts"
import type * as JsonLines from "../../src/cli/JsonLines.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as TcpTransport from "../../src/network/provider/node/TcpTransport.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import type { PeerBehaviour } from "../../src/testing/PeerBehaviour.ts"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.ts"
import * as Disk from "../storage/disk.ts"
import { eventsOf, folderScoped, startScoped } from "./program.ts"

/** The services that the peer of a download needs. */
export const services = Layer.merge(NodePieceHasher.layer, TcpTransport.layerListener)

/** Makes a torrent of 10 pieces in a temporary folder, as `known.torrent`. */
export const prepare = Effect.fnUntraced(function* (trackers: ReadonlyArray<ReadonlyArray<string>> = []) {
  const known = yield* KnownTorrent.make({
    files: [
      { path: ["a.bin"], length: 200_000 },
      { path: ["b", "empty"], length: 0 },
      { path: ["b", "c.bin"], length: 120_001 }
    ],
    pieceLength: 32_768,
    trackers
  })
  const folder = yield* folderScoped
  yield* Effect.promise(() => writeFile(path.join(folder, "known.torrent"), known.bytes))
  return { known, folder }
})

/** Starts a peer with the torrent on this machine. */
export const seed = Effect.fnUntraced(function* (known: KnownTorrent.KnownTorrent, behaviour: PeerBehaviour = {}) {
  const { infoHash, layout } = known.metainfo
  const peer = yield* ScriptedPeer.serve({ infoHash, geometry: layout.geometry, content: known.content, behaviour })
  return { peer, address: PeerAddress.format(peer.address) }
})

/** Asserts that the folder contains the complete torrent and nothing else. */
export const assertStored = (known: KnownTorrent.KnownTorrent, folder: string) =>
  Effect.promise(async () => {
    const stored = Disk.namesIn(folder)
    assert.deepStrictEqual(stored, ["known"], "nothing but the torrent's folder is left")
    for (const [index, file] of known.metainfo.layout.files.entries()) {
      const bytes = await readFile(path.join(folder, ...file.path))
      assert.isTrue(bytes.equals(known.fileContent(index)), file.path.join("/"))
    }
  })

/** The entries of a folder, without torrent files. */
export const entries = (folder: string) =>
  Effect.promise(async () => (await readdir(folder)).filter((name) => !name.endsWith(".torrent")))

/** The JSON lines with one tag. */
export const only = (tag: JsonLines.Line["_tag"], stdout: string) => eventsOf(stdout).filter(({ _tag }) => _tag === tag)

/** Starts a program that listens, and waits until it is complete. Returns its address. */
export const startListening = Effect.fnUntraced(function* (args: ReadonlyArray<string>, folder: string) {
  const running = yield* startScoped(args, folder)
  let written = ""
  running.child.stdout.on("data", (text: string) => {
    written += text
  })
  yield* Effect.promise(() => running.wrote('"Completed"'))
  const { port } = only("Listening", written)[0]!
  return { ...running, address: `127.0.0.1:${port}` }
})
