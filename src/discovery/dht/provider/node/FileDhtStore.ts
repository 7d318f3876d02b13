/**
 * Remembers the nodes of a DHT in a JSON file. A save writes a new file beside it and renames that, so whoever reads the
 * file finds an old list or a new one, each complete, and programs that share it do not damage it: the last one to save
 * wins.
 */
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Descriptors from "../../../../base/Descriptors.ts"
import * as NodeBoundedFile from "../../../../storage/provider/node/NodeBoundedFile.ts"
import { DhtStore, DhtStoreError, Saved } from "../../DhtStore.ts"

/** The most bytes that are read: four times what two families can take. */
export const maxBytes = 131_072

/** Where the nodes are remembered. */
export interface Options {
  /** The path of the file. Its folder is made by the first save, with its parents. */
  readonly file: string
}

/** A failed call, before it becomes a `DhtStoreError`. */
class CallFailed extends Data.TaggedError("CallFailed")<{ readonly cause: unknown }> {}

const text = Schema.fromJsonString(Schema.toCodecJson(Saved))

const sentences: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EDQUOT: "the disk quota is used up",
  EIO: "the disk reports an error",
  EISDIR: "it is a folder",
  ENOSPC: "the disk is full",
  ENOTDIR: "a part of the path is not a folder",
  EPERM: "permission denied",
  EROFS: "the disk is read-only"
}

const codeOf = (cause: unknown): string | undefined =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : undefined

/** Makes a store. */
export const make = ({ file }: Options): DhtStore["Service"] => {
  const failed = (operation: DhtStoreError["operation"], cause: unknown) => {
    const why = sentences[codeOf(cause) ?? ""] ?? (cause instanceof Error ? cause.message : String(cause))
    return new DhtStoreError({ operation, why: `${file}: ${why}` })
  }

  const call = <A>(operation: DhtStoreError["operation"], promise: () => Promise<A>) =>
    Effect.tryPromise({ try: promise, catch: (cause) => new CallFailed({ cause }) }).pipe(
      Descriptors.retry,
      Effect.mapError(({ cause }) => failed(operation, cause))
    )

  const read = async (): Promise<Uint8Array | undefined> => {
    try {
      return await NodeBoundedFile.read(file, maxBytes)
    } catch (cause) {
      if (codeOf(cause) === "ENOENT") return undefined
      throw cause
    }
  }

  const write = async (bytes: string): Promise<void> => {
    await FileSystem.mkdir(Path.dirname(file), { recursive: true })
    const temporary = `${file}.${process.pid}.tmp`
    // Left by a process that was killed, whose number this one has now.
    await FileSystem.rm(temporary, { force: true })
    try {
      await FileSystem.writeFile(temporary, bytes, { flag: "wx", flush: true })
      await FileSystem.rename(temporary, file)
    } catch (cause) {
      await FileSystem.rm(temporary, { force: true }).catch(() => {})
      throw cause
    }
  }

  return DhtStore.of({
    load: Effect.flatMap(call("load", read), (bytes) =>
      bytes === undefined
        ? Effect.undefined
        : Schema.decodeEffect(text)(new TextDecoder().decode(bytes)).pipe(
            Effect.mapError(() => failed("load", "it is not a list of nodes"))
          )
    ),
    save: (saved) =>
      Schema.encodeEffect(text)(saved).pipe(
        Effect.orDie,
        Effect.flatMap((encoded) => call("save", () => write(`${encoded}\n`))),
        // No half of a save is left behind.
        Effect.uninterruptible
      )
  })
}

/** Remembers nodes in a file. */
export const layer = (options: Options): Layer.Layer<DhtStore> => Layer.sync(DhtStore, () => make(options))
