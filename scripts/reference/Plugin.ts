/**
 * What typedoc does not do by itself: describes the modules that an entry point exports as namespaces with the comment
 * at the head of their file, and reports every export without a comment.
 */
import { readFileSync } from "node:fs"
import { type Application, Comment, type Context, Converter, type DeclarationReflection, ReflectionKind } from "typedoc"

const modules = ReflectionKind.Module | ReflectionKind.Namespace

/** The text of the comment that a file begins with. */
const headOf = (file: string): string | undefined => {
  const comment = /^\/\*\*(.*?)\*\//s.exec(readFileSync(file, "utf8"))?.[1]
  return comment?.replaceAll(/^\s*\* ?/gm, "").trim()
}

const isDocumented = (self: DeclarationReflection): boolean =>
  self.hasComment() || (self.signatures ?? []).some((signature) => signature.hasComment())

/** Adds itself to typedoc. */
export const load = (app: Application): void => {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }: Context) => {
    for (const self of project.getReflectionsByKind(modules) as Array<DeclarationReflection>) {
      const file = self.sources?.[0]?.fullFileName
      const text = file === undefined || self.hasComment() ? undefined : headOf(file)
      if (text !== undefined) self.comment = new Comment([{ kind: "text", text }])
    }
  })
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }: Context) => {
    for (const self of project.getReflectionsByKind(modules) as Array<DeclarationReflection>) {
      for (const member of [self, ...(self.children ?? [])]) {
        // What an entry point only passes on is described where it is from.
        if (!member.isReference() && !isDocumented(member))
          app.logger.warn(`${member.getFriendlyFullName()} has no comment`)
      }
    }
  })
}
