/**
 * What typedoc does not do by itself: describes the modules that an entry point exports as namespaces with the comment
 * at the head of their file, and several names that are exported together with the comment above them. Reports every
 * export without a comment. Names places in the sources without a link, because a checkout need not have a remote.
 */
import { readFileSync } from "node:fs"
import { type Application, Comment, type Context, Converter, type DeclarationReflection, ReflectionKind } from "typedoc"

const modules = ReflectionKind.Module | ReflectionKind.Namespace

const textOf = (comment: string): string => comment.replaceAll(/^\s*\* ?/gm, "").trim()

/** The comment that a file begins with. */
const headOf = (file: string): string | undefined => {
  const comment = /^\/\*\*(.*?)\*\//s.exec(readFileSync(file, "utf8"))?.[1]
  return comment && textOf(comment)
}

/** The comment of one line above the one with this number. */
const aboveLine = (file: string, line: number): string | undefined => {
  const comment = /^\/\*\*(.*)\*\/$/.exec(readFileSync(file, "utf8").split("\n")[line - 2] ?? "")?.[1]
  return comment && textOf(comment)
}

const isDocumented = (self: DeclarationReflection): boolean =>
  self.hasComment() || (self.signatures ?? []).some((signature) => signature.hasComment())

const describe = (self: DeclarationReflection, text: string | undefined): void => {
  if (text !== undefined && !isDocumented(self)) self.comment = new Comment([{ kind: "text", text }])
}

/** Adds itself to typedoc. */
export const load = (app: Application): void => {
  const modulesOf = ({ project }: Context) => project.getReflectionsByKind(modules) as Array<DeclarationReflection>
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, (context: Context) => {
    for (const self of modulesOf(context)) {
      const file = self.sources?.[0]?.fullFileName
      if (file !== undefined) describe(self, headOf(file))
      for (const member of self.children ?? []) {
        const source = member.sources?.[0]
        if (source !== undefined) describe(member, aboveLine(source.fullFileName, source.line))
      }
    }
  })
  app.converter.on(Converter.EVENT_RESOLVE_END, (context: Context) => {
    for (const { sources = [] } of Object.values(context.project.reflections) as Array<DeclarationReflection>) {
      for (const source of sources) delete source.url
    }
    for (const self of modulesOf(context)) {
      for (const member of [self, ...(self.children ?? [])]) {
        // What an entry point re-exports is described in the module that it comes from.
        if (!member.isReference() && !isDocumented(member)) {
          app.logger.warn(`${member.getFriendlyFullName()} has no comment`)
        }
      }
    }
  })
}
