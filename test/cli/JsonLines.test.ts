import { readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import { CommandFailed } from "../../src/cli/CommandFailed.ts"
import * as JsonLines from "../../src/cli/JsonLines.ts"
import * as JsonOutput from "../../src/cli/JsonOutput.ts"
import * as ServiceLines from "../../src/cli/service/ServiceLines.ts"
import { TorrentStatus } from "../../src/torrent/TorrentStatus.ts"
import { endedOf, eventsOf, fakeOutput } from "./program.ts"

const text = readFileSync(path.resolve(import.meta.dirname, "../../docs/json.md"), "utf8")

/** The rows of tables: the names in the first column, and all other names. */
const rows = new Map(
  Array.from(text.matchAll(/^\| (`\w+`(?:, `\w+`)*) \|(.*)\|$/gm), ([, first, rest]) => {
    const names = (cells: string) => Array.from(cells.matchAll(/`([\w/]+)`/g), ([, name]) => name!)
    return [names(first!), names(rest!)] as const
  }).flatMap(([first, rest]) => first.map((name) => [name, rest] as const))
)

interface Fields {
  readonly fields: { readonly _tag: { readonly schema: { readonly literal: string } } & Schema.Top }
}

const membersOf = (schema: { readonly members: ReadonlyArray<unknown> }): ReadonlyArray<Fields> =>
  schema.members.flatMap((member) =>
    "members" in (member as object) ? membersOf(member as never) : [member as Fields]
  )

const members = [JsonLines.Line, JsonLines.Result, ServiceLines.Line]
  .flatMap(membersOf)
  .map(({ fields }) => [fields._tag.schema.literal, Object.keys(fields).filter((name) => name !== "_tag")] as const)

describe("docs/json.md", () => {
  it("is about the version that is printed", () => {
    assert.include(text, `version ${JsonLines.version} of the contract`)
  })

  it.each(members)("describes %s with all its fields", (tag, fields) => {
    assert.isTrue(rows.has(tag), `${tag} has no row`)
    assert.includeMembers([...rows.get(tag)!], fields)
  })

  it("describes every field of the status", () => {
    assert.includeMembers([...rows.keys()], Object.keys(TorrentStatus.fields))
  })

  it("has no row of a line or a field that does not exist", () => {
    const known = new Set([...members.map(([tag]) => tag), ...Object.keys(TorrentStatus.fields)])

    assert.deepStrictEqual(
      [...rows.keys()].filter((name) => name !== "_tag" && !known.has(name)),
      []
    )
  })
})

describe("JsonOutput", () => {
  const linesOf = (program: Effect.Effect<void, CommandFailed>) => {
    const { output, written } = fakeOutput(false)
    let now = 1_000
    const run = JsonOutput.run(
      "seed",
      output,
      () => (now += 250),
      () => program
    )
    return Effect.map(Effect.exit(run), () => written.printed.join("\n"))
  }

  it.effect.each<[string, Effect.Effect<void, CommandFailed>, string, string | null]>([
    ["success", Effect.void, "success", null],
    ["failure", Effect.fail(new CommandFailed({ why: "a.bin: no" })), "failure", "a.bin: no"],
    ["bug", Effect.die(new Error("oh")), "failure", "oh"],
    ["signal", Effect.interrupt, "stopped", null]
  ])("prints the first line and the last one after a %s", ([, program, exit, why]) =>
    Effect.gen(function* () {
      const stdout = yield* linesOf(program)

      assert.lengthOf(eventsOf(stdout), 2)
      assert.include(eventsOf(stdout)[0], { _tag: "Begun", version: 1, command: "seed" })
      assert.deepInclude(endedOf(stdout), { exit, why, seconds: 0.25, status: null as never })
    })
  )
})
