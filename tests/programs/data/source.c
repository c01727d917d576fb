/* SPDX-License-Identifier: Apache-2.0 */
/* For the compiler: enough code to keep its optimisers busy for a moment. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
	struct node *left, *right;
	unsigned long key;
	char name[32];
};

static struct node *insert(struct node *root, unsigned long key)
{
	if (!root) {
		root = calloc(1, sizeof(*root));
		if (!root)
			abort();
		root->key = key;
		snprintf(root->name, sizeof(root->name), "node %lu", key);
	} else if (key < root->key) {
		root->left = insert(root->left, key);
	} else if (key > root->key) {
		root->right = insert(root->right, key);
	}
	return root;
}

static size_t depth(const struct node *root)
{
	size_t l = root ? depth(root->left) : 0;
	size_t r = root ? depth(root->right) : 0;
	return root ? 1 + (l > r ? l : r) : 0;
}

static double matrix(size_t n)
{
	static double a[64][64], b[64][64], c[64][64];
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++) {
			a[i][j] = (double)(i * j % 7);
			b[i][j] = (double)(i + j);
		}
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			for (size_t k = 0; k < n; k++)
				c[i][j] += a[i][k] * b[k][j];
	for (size_t i = 0; i < n; i++)
		sum += c[i][i];
	return sum;
}

int main(int argc, char **argv)
{
	struct node *root = NULL;
	unsigned long key = argc > 1 ? strtoul(argv[1], NULL, 0) : 1;

	for (int i = 0; i < 1000; i++) {
		key = key * 6364136223846793005UL + 1442695040888963407UL;
		root = insert(root, key >> 33);
	}
	printf("depth %zu, trace %g\n", depth(root), matrix(64));
	return strcmp(root->name, "node 0") == 0;
}
