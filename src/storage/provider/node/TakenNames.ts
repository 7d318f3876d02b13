/**
 * Which file of a torrent has a path. Made at the first question and kept only as long as somebody uses it, because a
 * torrent may have hundreds of thousands of files, and few are ever renamed.
 */
type Components = ReadonlyArray<string>

/** The paths of one torrent's files. Made by `make`, changed only here. */
export interface TakenNames {
  readonly files: () => Iterable<number>
  /** All components at which a file may be, as they are now. */
  readonly pathsOf: (file: number) => ReadonlyArray<Components>
  kept: WeakRef<Map<string, number>> | undefined
}

/** Makes it; looks at no file. */
export const make = (options: Pick<TakenNames, "files" | "pathsOf">): TakenNames => ({ ...options, kept: undefined })

/** The file that has a path; `undefined` if none has. */
export const fileAt = (self: TakenNames, path: Components): number | undefined => {
  let names = self.kept?.deref()
  if (names === undefined) {
    names = new Map()
    for (const file of self.files()) for (const other of self.pathsOf(file)) names.set(other.join("/"), file)
    self.kept = new WeakRef(names)
  }
  return names.get(path.join("/"))
}

/** Notes that a file has another path than it had. */
export const noteRenamed = (self: TakenNames, file: number, before: ReadonlyArray<Components>, path: Components) => {
  const names = self.kept?.deref()
  if (names === undefined) return
  for (const other of before) names.delete(other.join("/"))
  names.set(path.join("/"), file)
}
