/**
 * Reads options that are texts of the API, such as names of labels. The client could only say that a request has the
 * wrong form, and not which option is to blame.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Arguments from "../Arguments.ts"

/** Reads every value of an option. Fails with `WrongUsage` if the API does not take one of them. */
export const readAll = (
  args: Arguments.Arguments,
  name: string,
  schema: Schema.Codec<string>
): Effect.Effect<ReadonlyArray<string>, Arguments.WrongUsage> => {
  const isGood = Schema.is(schema)
  const values = Arguments.all(args, name)
  return values.every(isGood)
    ? Effect.succeed(values)
    : Effect.fail(new Arguments.WrongUsage(`the value of --${name} is too long`))
}

/** Reads an option that is given at most once. Fails as `readAll`. */
export const read = (args: Arguments.Arguments, name: string, schema: Schema.Codec<string>) =>
  Effect.map(readAll(args, name, schema), ([value]) => value)
