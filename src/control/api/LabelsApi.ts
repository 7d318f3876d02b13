/**
 * What labels and trackers mean for the torrents that have them.
 */
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import * as Errors from "./ApiErrors.ts"
import { Folder, Goal, LabelName } from "./ApiOptions.ts"

const meaning = { folder: Schema.optional(Folder), goal: Schema.optional(Goal) }

/** The schema of a label, and of what it means for torrents that do not say otherwise. */
export const Label = Schema.Struct({ name: LabelName, ...meaning }).annotate({ identifier: "Label" })

/** A label, and what it means for torrents that do not say otherwise. */
export type Label = typeof Label.Type

/** The schema of the seeding goal of torrents with a tracker at a host. */
export const TrackerGoal = Schema.Struct({
  /** A host name in lower case, or an IP address. */
  host: Schema.NonEmptyString.check(Schema.isMaxLength(253)),
  goal: Goal
}).annotate({ identifier: "TrackerGoal" })

/** The seeding goal of torrents with a tracker at a host. */
export type TrackerGoal = typeof TrackerGoal.Type

const describe = (summary: string) => OpenApi.annotations({ summary })

/** The labels of a service, and the goals of its trackers. */
export const LabelsApi = HttpApiGroup.make("labels")
  .add(
    HttpApiEndpoint.get("list", "/labels", { success: Schema.Array(Label) }).annotateMerge(
      describe("List labels with a meaning of their own")
    ),
    HttpApiEndpoint.put("set", "/labels/:name", {
      params: { name: LabelName },
      payload: Schema.Struct(meaning),
      success: Label,
      error: Errors.StoreFailed
    }).annotateMerge(describe("Add or replace a label")),
    HttpApiEndpoint.delete("remove", "/labels/:name", {
      params: { name: LabelName },
      error: Errors.StoreFailed
    }).annotateMerge(describe("Remove what a label means. Torrents keep its name")),
    HttpApiEndpoint.get("listGoals", "/tracker-goals", { success: Schema.Array(TrackerGoal) }).annotateMerge(
      describe("List seeding goals by tracker")
    ),
    HttpApiEndpoint.put("setGoal", "/tracker-goals/:host", {
      params: { host: TrackerGoal.fields.host },
      payload: Goal,
      success: TrackerGoal,
      error: Errors.StoreFailed
    }).annotateMerge(describe("Set the seeding goal of a tracker")),
    HttpApiEndpoint.delete("removeGoal", "/tracker-goals/:host", {
      params: { host: TrackerGoal.fields.host },
      error: Errors.StoreFailed
    }).annotateMerge(describe("Remove the seeding goal of a tracker"))
  )
  .annotateMerge(OpenApi.annotations({ title: "Labels and goals" }))
