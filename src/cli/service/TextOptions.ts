/**
 * Reads options that are texts of the API, such as names of labels. The client could only say that a request has the
 * wrong form, and not which option is to blame.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Arguments from "../Arguments.ts"

const formatted = SchemaIssue.makeFormatterStandardSchemaV1()

/** What is wrong with a value: `Expected text without /`. */
const whyOf = ({ issue }: Schema.SchemaError): string => formatted(issue).issues[0]!.message

/** Reads every value of an option. Fails with `WrongUsage` if the API does not take one of them. */
export const readAll = (
  args: Arguments.Arguments,
  name: string,
  schema: Schema.Codec<string>
): Effect.Effect<ReadonlyArray<string>, Arguments.WrongUsage> =>
  Effect.mapError(
    Effect.forEach(Arguments.all(args, name), (value) => Schema.decodeEffect(schema)(value)),
    (error) => new Arguments.WrongUsage(`the value of --${name} cannot be used: ${whyOf(error)}`)
  )

/** Reads an option that is given at most once. Fails as `readAll`. */
export const read = (args: Arguments.Arguments, name: string, schema: Schema.Codec<string>) =>
  Effect.map(readAll(args, name, schema), ([value]) => value)
