import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

/** The folder of a medium from behind, where users and other programs are. A path is one below it, with `/`. */
export class MediumFiles extends Context.Service<
  MediumFiles,
  {
    /** The bytes of every regular file that exists, by its path; those set aside are among them. */
    readonly list: Effect.Effect<ReadonlyMap<string, Uint8Array>>
    /** Puts a new file at a path; a number makes one hole of so many bytes. */
    readonly put: (path: string, content: Uint8Array | number) => Effect.Effect<void>
    /** Puts a folder at a path. */
    readonly block: (path: string) => Effect.Effect<void>
    /** Writes into a file. */
    readonly modify: (path: string, offset: number, bytes: Uint8Array) => Effect.Effect<void>
    /** Changes when a file was changed. */
    readonly touch: (path: string) => Effect.Effect<void>
    readonly cut: (path: string, length: number) => Effect.Effect<void>
    /** Puts another file with the same bytes in the place of one. */
    readonly replace: (path: string) => Effect.Effect<void>
    /** Gives a file another name. */
    readonly link: (from: string, to: string) => Effect.Effect<void>
    readonly remove: (path: string) => Effect.Effect<void>
  }
>()("piecewise/test/storage/MediumFiles") {}
