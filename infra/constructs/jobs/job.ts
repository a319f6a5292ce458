import { Duration } from 'aws-cdk-lib';
import { Rule, RuleTargetInput, Schedule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import { Construct } from 'constructs';
import { acknowledge } from '../acknowledge.ts';
import { LogFunction, type LogFunctionProps } from '../log-function.ts';

export interface JobProps extends Omit<LogFunctionProps, 'exportName'> {
  readonly every: Duration;
  /** What the function is invoked with. @default - the event of the schedule */
  readonly event?: object;
}

/** A run that has not begun by then is left to the next one. */
const EVENT_AGE = Duration.minutes(1);

/** A function that a schedule runs. The next run makes up for a run that was lost or failed, so no run is retried. */
export class Job extends Construct {
  readonly function: LogFunction['function'];
  readonly rule: Rule;

  constructor(scope: Construct, id: string, props: JobProps) {
    super(scope, id);
    const job = new LogFunction(this, 'Job', { ...props, exportName: 'handler' });
    this.function = job.function;
    // EventBridge is done when Lambda has accepted the event. Lambda itself then runs a function that fails two more times.
    this.function.configureAsyncInvoke({ retryAttempts: 0, maxEventAge: EVENT_AGE });
    // A Rule, unlike a Scheduler's schedule, needs no role, and emulators run it.
    this.rule = new Rule(this, 'Schedule', {
      description: `Tailrace: ${props.description}`,
      schedule: Schedule.rate(props.every),
      targets: [
        new LambdaFunction(job.function, {
          retryAttempts: 0,
          maxEventAge: EVENT_AGE,
          ...(props.event === undefined ? {} : { event: RuleTargetInput.fromObject(props.event) }),
        }),
      ],
    });
    const reason =
      'The next run on the schedule does what a lost one did not, and an alarm tells when none succeeds; an event kept aside would say nothing more.';
    acknowledge(job.function, { 'Serverless-LambdaAsyncFailureDestination': reason, 'Serverless-LambdaDLQ': reason });
    acknowledge(this.rule, { 'Serverless-EventBusDLQ': reason });
  }
}
