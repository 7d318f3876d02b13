/**
 * Seeds bytes from memory through its own storage: `node examples/seed.ts < FILE > IT.torrent`. A storage over an
 * object store works the same way. A storage for downloads must also implement `claim`, `writePiece` and `flush`.
 */
import { buffer } from "node:stream/consumers"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Logger, Stream } from "effect"
import { CreateTorrent, Engine, FileLayout, Metainfo, type PieceGeometry, PieceHasher, Storage } from "piecewise"
import { NodeEngine } from "piecewise/node"

const listen = { port: 6881 }
const reason = new Storage.StorageRefused({ path: "it", why: "is read only" })
const refused = (operation: "claim" | "write" | "rename" | "remove") => new Storage.StorageError({ operation, reason })

/** A read-only storage with the bytes of one torrent. */
export const make = (content: Uint8Array, hasher: PieceHasher.PieceHasher["Service"]) =>
  Storage.Storage.of({
    open: ({ layout }) => {
      const factsOf = (file: number): Storage.FileFacts => {
        const unchanged = { mtimeNs: 0n, identity: `${file}`, isHole: false, isAside: false, otherNames: 0 }
        return { file, kind: "file", length: layout.files[file]!.length, ...unchanged }
      }
      const digestOf = (piece: PieceGeometry.PieceIndex) => {
        const begin = piece * layout.geometry.pieceLength
        const bytes = content.subarray(begin, begin + layout.geometry.pieceLength)
        return Effect.map(hasher.sha1(bytes), (sha1) => ({ piece, sha1 }))
      }
      return Effect.succeed({
        look: (files) => Effect.sync(() => files.map(factsOf)),
        readBlock: (piece, begin, length) => {
          const offset = piece * layout.geometry.pieceLength + begin
          const files = FileLayout.spans(layout, offset, length).map(({ file }) => factsOf(file))
          return Effect.succeed({ bytes: content.slice(offset, offset + length), files })
        },
        digests: (pieces) => Stream.mapEffect(Stream.fromIterable(pieces), digestOf),
        flush: (files) => Effect.sync(() => files.map((file) => ({ file, facts: factsOf(file) }))),
        prepare: () => Effect.void,
        reserve: () => Effect.void,
        release: () => Effect.void,
        claim: () => refused("claim"),
        writePiece: () => refused("write"),
        rename: () => refused("rename"),
        remove: () => refused("remove")
      })
    }
  })

const program = Effect.gen(function* () {
  const hasher = yield* PieceHasher.PieceHasher
  const content = yield* Effect.promise(() => buffer(process.stdin))
  const details = { name: "it", pieceLength: 1 << 24, files: [{ path: [], length: content.length }] }
  const bytes = CreateTorrent.encode({ ...details, digests: yield* hasher.sha1(content) })
  process.stdout.write(bytes)
  const engine = yield* Effect.provideService(Engine.make({ listen }), Storage.Storage, make(content, hasher))
  yield* engine.add(yield* Metainfo.fromBytes(bytes), { readOnly: true, seed: true })
  return yield* Console.error("seeding at most 16 MiB on port 6881 until Ctrl-C").pipe(Effect.andThen(Effect.never))
})

const logging = Effect.provideService(Effect.scoped(program), Logger.LogToStderr, true)
if (import.meta.main) NodeRuntime.runMain(Effect.provide(logging, NodeEngine.layerServices({ directory: "unused" })))
