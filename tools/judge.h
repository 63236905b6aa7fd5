/* judge.h - whether an answer is right. */
#ifndef JUDGE_H
#define JUDGE_H

#include <stdbool.h>

typedef enum { JUDGE_LOSS, JUDGE_NUMBER, JUDGE_EXACT, JUDGE_CHOICE } judge_kind;

judge_kind judge_of(const char *metric);
/* text: what the model wrote; answer, completion: the line's, either may be NULL. */
bool       judge(judge_kind kind, const char *text, const char *answer, const char *completion);

#endif
